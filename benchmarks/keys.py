"""The keys of ledgers that benchmarks make."""

from application.ledger_keys import LedgerKeys

LEDGER_KEYS = LedgerKeys("benches", {"benches": bytes(range(32))})
