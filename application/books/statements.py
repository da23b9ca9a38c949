"""One user's account over a period, posting by posting."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from application.books.posted import Period, Posted, posted
from domain.accounts.postings import user_accounts
from domain.events import Event


@dataclass(frozen=True, kw_only=True)
class StatementLine:
    posting: Posted
    available_micro: int
    held_micro: int


@dataclass(frozen=True, kw_only=True)
class Totals:
    available_micro: int
    held_micro: int

    @property
    def total_micro(self) -> int:
        return self.available_micro + self.held_micro


@dataclass(frozen=True, kw_only=True)
class Statement:
    """Opening balance and lines come to the closing balance, and the closing balance of a period
    is the opening balance of the next."""

    user_id: UUID
    period: Period
    opening: Totals
    lines: tuple[StatementLine, ...]
    closing: Totals


def statement(user_id: UUID, period: Period, events: Iterable[tuple[int, Event]]) -> Statement:
    """events: the account's, with their positions, in order."""
    names = user_accounts(user_id)
    opening = [0, 0]
    within: list[Posted] = []
    for position, event in events:
        for posting in posted(position, event):
            if period.is_before(posting.time):
                _move(opening, names, posting)
            elif not period.is_past(posting.time):
                within.append(posting)
    running = list(opening)
    lines: list[StatementLine] = []
    for posting in within:
        _move(running, names, posting)
        lines.append(
            StatementLine(posting=posting, available_micro=running[0], held_micro=running[1])
        )
    return Statement(
        user_id=user_id,
        period=period,
        opening=Totals(available_micro=opening[0], held_micro=opening[1]),
        lines=tuple(lines),
        closing=Totals(available_micro=running[0], held_micro=running[1]),
    )


def _move(sums: list[int], names: tuple[str, str], posting: Posted) -> None:
    for index, name in enumerate(names):
        if posting.source == name:
            sums[index] -= posting.amount_micro
        if posting.destination == name:
            sums[index] += posting.amount_micro
