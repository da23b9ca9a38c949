"""The result of a benchmark: a figure, its goal, and the conditions of the measurement."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Goal:
    """bound: in the figure's own unit; the most it may be, or with `at_least` the least."""

    bound: float
    at_least: bool = False

    def met_by(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def verdict(self, value: float) -> str:
        if self.met_by(value):
            return "met"
        return f"not met, off by {abs(value - self.bound) / self.bound:.0%}"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """low and high: of the repeats, where there are any. conditions: what must be the same for
    the figure to come out again."""

    what: str
    unit: str
    value: float
    conditions: str
    low: float | None = None
    high: float | None = None
    goal: Goal | None = None

    def measured(self) -> str:
        if math.isnan(self.value):
            return "not measured"
        text = f"{number(self.value)} {self.unit}"
        if self.low is not None and self.high is not None:
            text += f" [{number(self.low)}–{number(self.high)}]"
        return text

    def goal_text(self) -> str:
        if self.goal is None:
            return ""
        sign = "≥" if self.goal.at_least else "≤"
        return f"{sign} {number(self.goal.bound)} {self.unit}"

    def verdict(self) -> str:
        return "" if self.goal is None else self.goal.verdict(self.value)

    def as_json(self) -> dict[str, Any]:
        value = None if math.isnan(self.value) else self.value
        return {**asdict(self), "value": value, "verdict": self.verdict()}


def of_repeats(
    what: str, unit: str, samples: Sequence[float], conditions: str, goal: Goal | None = None
) -> Figure:
    """The median of repeated measurements, with the lowest and the highest."""
    return Figure(
        what=what,
        unit=unit,
        value=median(samples),
        low=min(samples),
        high=max(samples),
        conditions=f"{conditions}; median of {len(samples)}",
        goal=goal,
    )


def percentile(samples: Sequence[float], percent: float) -> float:
    """By nearest rank, so that the result is one of the samples."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def number(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


_COLUMNS = ("what", "goal", "measured", "verdict", "conditions")


def table(figures: Sequence[Figure]) -> str:
    """Markdown, which reads well in a terminal too."""
    rows = [_COLUMNS, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS) - 1)]
    widths.append(0)
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "|" + "|".join("-" * (max(3, width) + 2) for width in widths) + "|")
    return "\n".join(lines)


def _row(figure: Figure) -> tuple[str, str, str, str, str]:
    return (
        figure.what,
        figure.goal_text(),
        figure.measured(),
        figure.verdict(),
        figure.conditions,
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"
