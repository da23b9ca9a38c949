"""The double-entry journal: two lines for each posting of each money event.

Convention: the source of a posting is debited and its destination credited, by the same amount.
So debits and credits of the whole journal are equal (the trial balance is zero), and what an
account holds is its credits less its debits: a user's credits are what the service owes to the
user, and `revenue:usage` grows on the credit side as revenue does in any book. `issuance:paid`
and `issuance:promotional` carry the other side: what was ever given out, less what was taken
back.
"""

from domain.accounts.events import MONEY_EVENTS, MoneyEvent
from domain.accounts.postings import postings
from domain.events import Event
from projections.row_changes import Insert, RowChanges

TABLE = "journal"
EVENTS: tuple[type[Event], ...] = MONEY_EVENTS


def project(event: Event, position: int) -> RowChanges:
    if not isinstance(event, MoneyEvent):
        return
    line = 0
    # The union of account events is closed; MoneyEvent is the part of it that has postings.
    for posting in postings(event):  # type: ignore[arg-type]
        sides = (("debit", posting.source), ("credit", posting.destination))
        for direction, account in sides:
            line += 1
            yield Insert(
                TABLE,
                {
                    "position": position,
                    "line": line,
                    "account": account,
                    "direction": direction,
                    "amount_micro": posting.amount_micro,
                    "event": event.TOPIC,
                    "created_at": event.timestamp,
                },
            )
