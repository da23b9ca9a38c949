"""The result of a verification."""

from collections.abc import Callable
from dataclasses import dataclass, field

# How many differences are listed; of others only the number. A broken page makes thousands.
_LISTED_MAX = 20


@dataclass(frozen=True, kw_only=True)
class Difference:
    """where: the part of the report: "log", "MACs", "accounts" … or a read model's table. position:
    of the event. row: the key in that table. text: a sentence for people."""

    where: str
    text: str
    position: int | None = None
    row: str | None = None


@dataclass
class Findings:
    """differences: the first ones, in the order of the log. count: of all of them."""

    differences: list[Difference] = field(default_factory=list)
    count: int = 0

    def add(self, difference: Difference) -> None:
        self.count += 1
        if len(self.differences) < _LISTED_MAX:
            self.differences.append(difference)

    def insert(self, difference: Difference) -> None:
        """Like `add`, for differences that are not found in the order of the log."""
        self.merge(Findings([difference], 1))

    def merge(self, other: "Findings") -> None:
        self.count += other.count
        both = sorted([*self.differences, *other.differences], key=lambda one: one.position or 0)
        self.differences = both[:_LISTED_MAX]


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """checked: the number of `what`. notes: things worth a line that are no differences. looked_at:
    False if the part could not be read."""

    name: str
    what: str
    checked: int
    seconds: float
    findings: Findings
    notes: tuple[str, ...] = ()
    looked_at: bool = True


# Gets how much of a part is done, from 0 to 1.
Progress = Callable[[float], None]
