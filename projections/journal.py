"""The double-entry journal: two lines for each posting of each money event.

Convention: the source of a posting is debited and its destination credited, by the same amount.
So debits and credits of the whole journal are equal (the trial balance is zero), and what an
account holds is its credits less its debits: a user's credits are what the service owes to the
user, and `revenue:usage` grows on the credit side as revenue does in any book. `issuance:paid`
and `issuance:promotional` carry the other side: what was ever given out, less what was taken
back.
"""

from collections.abc import Callable

from domain.accounts.events import MoneyEvent
from domain.accounts.postings import MOVES, Moves
from projections.row_changes import Handlers, Insert, RowChange, RowChanges, Value, on

TABLE = "journal"


def _lines_of(
    topic: str, moves: Callable[[MoneyEvent], Moves]
) -> Callable[[MoneyEvent, int], RowChanges]:
    def lines(event: MoneyEvent, position: int) -> RowChanges:
        time = event.timestamp
        made: list[RowChange] = []
        for source, destination, amount_micro in moves(event):
            if not amount_micro:
                continue
            for direction, account in (("debit", source), ("credit", destination)):
                line: dict[str, Value] = {
                    "position": position,
                    "line": len(made) + 1,
                    "account": account,
                    "direction": direction,
                    "amount_micro": amount_micro,
                    "event": topic,
                    "created_at": time,
                }
                made.append(Insert(TABLE, line))
        return made

    return lines


HANDLERS: Handlers = dict(
    on(event_type, _lines_of(event_type.TOPIC, moves)) for event_type, moves in MOVES.items()
)
