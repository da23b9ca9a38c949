"""The keys of ledgers that tests make."""

from application.ledger_keys import LedgerKeys

LEDGER_KEYS = LedgerKeys("test", {"test": b"a key that only tests may use".ljust(32, b".")})
