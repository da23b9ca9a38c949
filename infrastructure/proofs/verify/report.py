"""What a verification found."""

from collections.abc import Callable
from dataclasses import dataclass, field

# Beyond these only their number is told: one broken page makes thousands.
_TOLD_MAX = 20


@dataclass(frozen=True, kw_only=True)
class Difference:
    """where: the report's part: "log", "MACs", "accounts" … or a read model's table. position: of
    the event that it is about. row: its key in that table. text: a sentence."""

    where: str
    text: str
    position: int | None = None
    row: str | None = None


@dataclass
class Findings:
    """differences: the first ones of each part, in the order of the log; count: of all."""

    differences: list[Difference] = field(default_factory=list)
    count: int = 0

    def add(self, difference: Difference) -> None:
        self.count += 1
        if len(self.differences) < _TOLD_MAX:
            self.differences.append(difference)

    def insert(self, difference: Difference) -> None:
        """By its position, where they are not found in the order of the log."""
        self.merge(Findings([difference], 1))

    def merge(self, other: "Findings") -> None:
        self.count += other.count
        both = sorted([*self.differences, *other.differences], key=lambda one: one.position or 0)
        self.differences = both[:_TOLD_MAX]


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """checked: so many of `what`. notes: what is no difference and still worth a line. looked_at:
    False where there was nobody to ask."""

    name: str
    what: str
    checked: int
    seconds: float
    findings: Findings
    notes: tuple[str, ...] = ()
    looked_at: bool = True


# Of one part: how much of it is done, from 0 to 1.
Progress = Callable[[float], None]
