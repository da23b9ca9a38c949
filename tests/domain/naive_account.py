"""A credit account as a child would keep it: one jar for every purchase and grant, one envelope
for every hold, and a book in which every move is written twice.

It knows nothing of events. `tests/domain/test_account_state_machine.py` holds the real account
against it.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter


@dataclass
class Jar:
    name: str
    paid: bool
    expires_at: datetime | None
    number: int
    micro: int = 0


@dataclass
class Envelope:
    """taken: how much came from which jar, in the order in which it was taken."""

    expires_at: datetime
    taken: list[tuple[str, int]]

    @property
    def micro(self) -> int:
        return sum(micro for _, micro in self.taken)


class NaiveAccount:
    def __init__(self) -> None:
        self.jars: dict[str, Jar] = {}
        self.envelopes: dict[str, Envelope] = {}
        self.book: Counter[str] = Counter()
        self.frozen = False
        self.refunded: set[str] = set()

    def fill_new_jar(
        self, name: str, micro: int, source: str, *, paid: bool, expires_at: datetime | None = None
    ) -> None:
        self.jars[name] = Jar(name, paid, expires_at, number=len(self.jars))
        self._fill(name, micro, source)

    def hold(self, name: str, micro: int, expires_at: datetime) -> None:
        taken = self._take(micro)
        self.envelopes[name] = Envelope(expires_at, taken)
        self._write("available", "held", micro)

    def spend(self, name: str, micro: int) -> list[tuple[str, int]]:
        """Takes from the envelope's front; the rest goes back into its jars. Returns what was
        spent."""
        envelope = self.envelopes.pop(name)
        spent, rest = [], []
        left = micro
        for jar, amount in envelope.taken:
            part = min(amount, left)
            left -= part
            spent.append((jar, part))
            rest.append((jar, amount - part))
        self._put_back(rest, "held")
        self._write("held", "revenue:usage", micro)
        return spent

    def release(self, name: str) -> None:
        self._put_back(self.envelopes.pop(name).taken, "held")

    def refund(self, name: str, spent: list[tuple[str, int]], micro: int) -> None:
        """Once for each name. Puts coin after coin back, beginning with the last that was
        spent."""
        assert name not in self.refunded, "the rules let a debit be refunded again"
        self.refunded.add(name)
        left = micro
        for jar, amount in reversed(spent):
            part = min(amount, left)
            left -= part
            self._put_back([(jar, part)], "revenue:usage")
        assert left == 0, "the rules let more be refunded than was spent"

    def remove(self, micro: int) -> None:
        self._take(micro)
        self._write("available", "adjustments", micro)

    def empty_old_jars(self, now: datetime) -> None:
        for jar in self.jars.values():
            if jar.expires_at is not None and jar.expires_at <= now:
                self._write("available", "issuance:promotional", jar.micro)
                jar.micro = 0

    def free(self, *, paid: bool) -> int:
        return sum(jar.micro for jar in self.jars.values() if jar.paid is paid)

    def spendable(self, now: datetime) -> int:
        return sum(
            jar.micro
            for jar in self.jars.values()
            if jar.expires_at is None or jar.expires_at > now
        )

    def held(self) -> int:
        return sum(envelope.micro for envelope in self.envelopes.values())

    def _take(self, micro: int) -> list[tuple[str, int]]:
        """From the jars that expire, soonest first; then from those given for nothing; then from
        those paid for; the oldest first among equals."""
        dated = [(jar.expires_at, jar.number, jar) for jar in self.jars.values() if jar.expires_at]
        expiring = [jar for *_, jar in sorted(dated, key=itemgetter(0, 1))]
        given = [jar for jar in self.jars.values() if not jar.expires_at and not jar.paid]
        paid = [jar for jar in self.jars.values() if jar.paid]
        taken = []
        for jar in [*expiring, *given, *paid]:
            part = min(jar.micro, micro)
            jar.micro -= part
            micro -= part
            if part:
                taken.append((jar.name, part))
        assert micro == 0, "the rules let more be taken than there is"
        return taken

    def _put_back(self, taken: list[tuple[str, int]], source: str) -> None:
        for name, micro in taken:
            self._fill(name, micro, source)

    def _fill(self, name: str, micro: int, source: str) -> None:
        self.jars[name].micro += micro
        self._write(source, "available", micro)

    def _write(self, source: str, destination: str, micro: int) -> None:
        self.book[source] -= micro
        self.book[destination] += micro
