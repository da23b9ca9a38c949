"""What every account holds, folded from the money events of the log.

Amounts follow the journal: the source of a posting is debited and its destination credited, so
what an account holds is its credits less its debits. A time means the time that stands in the
events.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from application.books.posted import ALL_TIME, HELD, Period
from domain.accounts.events import Balance, MoneyEvent
from domain.accounts.postings import postings, user_accounts
from domain.events import Event

USERS_AVAILABLE = "users:available"
USERS_HELD = "users:held"


def account_class(account: str) -> str:
    """The accounts of all users are two classes; every other account is a class of its own."""
    if not account.startswith("user:"):
        return account
    return USERS_HELD if account.endswith(f":{HELD}") else USERS_AVAILABLE


@dataclass(frozen=True, kw_only=True)
class BookLine:
    """accounts: how many stand in this line."""

    name: str
    debit_micro: int
    credit_micro: int
    accounts: int = 1

    @property
    def balance_micro(self) -> int:
        return self.credit_micro - self.debit_micro


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """A user whose postings do not come to the balance that the user's last money event carries."""

    user_id: UUID
    position: int
    postings_available_micro: int
    postings_held_micro: int
    event_available_micro: int
    event_held_micro: int


class TrialBalance:
    """Takes every money event of the log in order. Its memory grows with the accounts and not
    with the events.

    position: of the last event that is in it. events: how many are.
    """

    def __init__(self, period: Period = ALL_TIME) -> None:
        self._period = period
        self._debits: dict[str, int] = {}
        self._credits: dict[str, int] = {}
        self._carried: dict[UUID, tuple[int, Balance]] = {}
        self._left_out: set[UUID] = set()
        self._out_of_order: set[UUID] = set()
        self.position = 0
        self.events = 0

    def add(self, position: int, event: Event) -> None:
        if not isinstance(event, MoneyEvent):
            return
        if not self._period.covers(event.timestamp):
            self._left_out.add(event.user_id)
            return
        if event.user_id in self._left_out:
            # A clock was set back between two events: the later one is in the period and the
            # earlier one is not, but the balance that the later one carries counts both.
            self._out_of_order.add(event.user_id)
        self.position = position
        self.events += 1
        for posting in postings(event):
            _add(self._debits, posting.source, posting.amount_micro)
            _add(self._credits, posting.destination, posting.amount_micro)
        self._carried[event.user_id] = (position, event.balance)

    @property
    def accounts(self) -> tuple[BookLine, ...]:
        return tuple(
            BookLine(
                name=name,
                debit_micro=self._debits.get(name, 0),
                credit_micro=self._credits.get(name, 0),
            )
            for name in sorted(self._debits.keys() | self._credits.keys())
        )

    @property
    def classes(self) -> tuple[BookLine, ...]:
        debits: dict[str, int] = {}
        credits_: dict[str, int] = {}
        accounts: dict[str, int] = {}
        for line in self.accounts:
            name = account_class(line.name)
            _add(debits, name, line.debit_micro)
            _add(credits_, name, line.credit_micro)
            _add(accounts, name, 1)
        return tuple(
            BookLine(
                name=name,
                debit_micro=debits[name],
                credit_micro=credits_[name],
                accounts=accounts[name],
            )
            for name in sorted(accounts)
        )

    @property
    def difference_micro(self) -> int:
        """Credits less debits of all accounts: zero, or something is wrong."""
        return sum(self._credits.values()) - sum(self._debits.values())

    @property
    def disagreements(self) -> tuple[Disagreement, ...]:
        """Compares what the postings come to with the balances in the events: the double entry
        alone would be zero even where an amount was changed on both of its sides."""
        return tuple(self._disagreements())

    def _disagreements(self) -> Iterator[Disagreement]:
        for user_id, (position, balance) in self._carried.items():
            available, held = (self._held_by(account) for account in user_accounts(user_id))
            same = (available, held) == (balance.available_micro, balance.held_micro)
            if not same and user_id not in self._out_of_order:
                yield Disagreement(
                    user_id=user_id,
                    position=position,
                    postings_available_micro=available,
                    postings_held_micro=held,
                    event_available_micro=balance.available_micro,
                    event_held_micro=balance.held_micro,
                )

    def _held_by(self, account: str) -> int:
        return self._credits.get(account, 0) - self._debits.get(account, 0)


def _add(sums: dict[str, int], name: str, amount_micro: int) -> None:
    sums[name] = sums.get(name, 0) + amount_micro
