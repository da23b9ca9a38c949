"""The books as text for a person: aligned, exact to the micro-credit, times in UTC."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from application.books.posted import Posted
from application.books.statements import Statement, Totals
from application.books.trial_balance import BookLine, TrialBalance
from domain.accounts.postings import user_accounts
from domain.credits import MICRO_PER_CREDIT

_GAP = "  "


def amount(amount_micro: int) -> str:
    """Credits with all six places, so that they stand below each other."""
    whole, micro = divmod(abs(amount_micro), MICRO_PER_CREDIT)
    return f"{'-' if amount_micro < 0 else ''}{whole:,}.{micro:06d}"


def moment(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def aligned(
    titles: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int]
) -> Iterator[str]:
    """right: the columns of numbers, counted from 0."""
    table = [list(titles), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(titles))]
    numbers = set(right)

    def line(row: Sequence[str]) -> str:
        cells = (
            text.rjust(widths[column]) if column in numbers else text.ljust(widths[column])
            for column, text in enumerate(row)
        )
        return _GAP.join(cells).rstrip()

    rule = _GAP.join("-" * width for width in widths)
    yield line(table[0])
    yield rule
    yield from (line(row) for row in table[1:])


def trial_balance_text(books: TrialBalance, *, with_accounts: bool) -> Iterator[str]:
    lines = books.accounts if with_accounts else books.classes
    total = BookLine(
        name="Total",
        debit_micro=sum(line.debit_micro for line in lines),
        credit_micro=sum(line.credit_micro for line in lines),
        accounts=sum(line.accounts for line in lines),
    )
    titles = ("Account", "Accounts", "Debit", "Credit", "Credit less debit")
    rows = [
        (
            line.name,
            f"{line.accounts:,}",
            amount(line.debit_micro),
            amount(line.credit_micro),
            amount(line.balance_micro),
        )
        for line in (*lines, total)
    ]
    yield from aligned(titles, rows, right=range(1, 5))
    yield ""
    difference = books.difference_micro
    yield f"{books.events:,} money events, the last at position {books.position}"
    yield (
        "The trial balance is zero."
        if difference == 0
        else f"THE TRIAL BALANCE IS NOT ZERO: it is out by {amount(difference)}."
    )
    for found in books.disagreements:
        yield (
            f"USER {found.user_id}: postings come to {amount(found.postings_available_micro)}"
            f" available and {amount(found.postings_held_micro)} held, but the event at position"
            f" {found.position} says {amount(found.event_available_micro)} and"
            f" {amount(found.event_held_micro)}."
        )


def statement_text(statement: Statement, username: str) -> Iterator[str]:
    period = statement.period
    since = "the beginning" if period.since is None else f"{moment(period.since)} UTC"
    until = "now" if period.until is None else f"{moment(period.until)} UTC (not included)"
    yield f"Statement of {username}, user {statement.user_id}"
    yield f"From {since} to {until}; amounts in credits"
    yield ""
    titles = ("Time (UTC)", "Position", "From", "To", "Amount", "Available", "Held", "What for")
    rows = [
        _totals_row("Opening balance", statement.opening),
        *(
            (
                moment(line.posting.time),
                str(line.posting.position),
                _own(line.posting, line.posting.source),
                _own(line.posting, line.posting.destination),
                amount(line.posting.amount_micro),
                amount(line.available_micro),
                amount(line.held_micro),
                f"{_one_line(line.posting.what)} [{line.posting.reference}]",
            )
            for line in statement.lines
        ),
        _totals_row("Closing balance", statement.closing),
    ]
    yield from aligned(titles, rows, right=(1, 4, 5, 6))


def _totals_row(name: str, totals: Totals) -> tuple[str, ...]:
    held, available = amount(totals.held_micro), amount(totals.available_micro)
    return (name, "", "", "", "", available, held, f"in all {amount(totals.total_micro)}")


def _own(posting: Posted, account: str) -> str:
    """The user's own accounts by their short names: the user is named at the top."""
    own = user_accounts(posting.user_id)
    return account.rpartition(":")[2] if account in own else account


def _one_line(text: str) -> str:
    """What an administrator typed must not control the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)
