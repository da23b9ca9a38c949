"""The keys of ledgers that benchmarks make."""

from application.ledger.event_macs import event_macs
from application.ledger.keys import LedgerKeys

LEDGER_KEYS = LedgerKeys("benches", {"benches": bytes(range(32))})
EVENT_MACS = event_macs(LEDGER_KEYS)
