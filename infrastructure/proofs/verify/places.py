"""Checks that every checkpoint is in all three places: the database, the file and NATS. One that a
place lacks was removed there, or is still on its way."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from infrastructure.proofs.checkpoints.records import SignedCheckpoint
from infrastructure.proofs.checkpoints.signing_key import PublicKey
from infrastructure.proofs.verify.report import Difference, Findings, PartReport


@dataclass
class _Place:
    """One place of checkpoints, and the run of consecutive checkpoints that it lacks now.

    count: checkpoints that it has. first, last, lacking: the first, the last and the number of
    those in the run. holders: names of the places that have them.
    """

    name: str
    records: Iterator[SignedCheckpoint]
    next: SignedCheckpoint | None = None
    count: int = 0
    first: SignedCheckpoint | None = None
    last: SignedCheckpoint | None = None
    lacking: int = 0
    holders: list[str] = field(default_factory=list)

    def advance(self) -> None:
        self.next = next(self.records, None)

    def take(self, position: int) -> set[str]:
        """Take all records up to that position. Returns the lines of those at the position; others
        are out of order and count as missing."""
        lines: set[str] = set()
        while self.next is not None and self.next.checkpoint.position <= position:
            if self.next.checkpoint.position == position:
                lines.add(self.next.line)
            self.advance()
        return lines

    def lacks(self, record: SignedCheckpoint, holders: list[str]) -> None:
        self.first = self.first or record
        self.last = record
        self.lacking += 1
        self.holders = holders

    def sentence(self) -> str:
        assert self.first is not None
        assert self.last is not None
        one, other = self.first.checkpoint.position, self.last.checkpoint.position
        where = f"at position {one}" if one == other else f"from position {one} to {other}"
        what = "the checkpoint" if self.lacking == 1 else f"{self.lacking} checkpoints"
        have = "has" if len(self.holders) == 1 else "have"
        return f"{self.name} lacks {what} {where}, which {' and '.join(self.holders)} {have}"

    def forget(self) -> None:
        self.first = self.last = None
        self.lacking = 0


def compare_places(
    places: Mapping[str, Iterable[SignedCheckpoint]],
    keys: Sequence[PublicKey],
    *,
    now: datetime,
    within: timedelta,
) -> PartReport:
    """places: each place's checkpoints in the order of their positions, by the place's name. keys:
    of the checkpoints that count. within: how long a checkpoint may take to be in all places. The
    last ones of a service that was killed may take until it runs again."""
    began = time.monotonic()
    findings, notes = Findings(), []
    walked = [_Place(name, iter(records)) for name, records in places.items()]
    for place in walked:
        place.advance()
    newest: SignedCheckpoint | None = None
    while heads := [place.next.checkpoint.position for place in walked if place.next is not None]:
        found = [place.take(min(heads)) for place in walked]
        for line in sorted(set().union(*found)):
            record = SignedCheckpoint.from_line(line)
            is_everywhere = all(line in lines for lines in found)
            # Anybody who may write to a place can put checkpoints of another key there.
            if not is_everywhere and not any(record.is_signed_by(key) for key in keys):
                continue
            newest = record
            holders = [p.name for p, lines in zip(walked, found, strict=True) if line in lines]
            for place in walked:
                if place.name not in holders:
                    place.lacks(record, holders)
                    continue
                place.count += 1
                if place.lacking:
                    _add(findings, place)
                    place.forget()
    for place in walked:
        if place.first is None or newest is None:
            continue
        signed_at = place.first.checkpoint.signed_at
        late_at = signed_at + within
        if late_at < newest.checkpoint.signed_at or (not place.count and late_at < now):
            _add(findings, place)
        else:
            notes.append(
                f"{place.sentence()}; they were the last ones, and are written when the service"
                " runs"
            )
    counts = [f"{place.count:,} in {place.name}" for place in walked]
    return PartReport(
        name="places of checkpoints",
        what=f"checkpoints: {', '.join(counts)}",
        checked=max(place.count for place in walked),
        seconds=time.monotonic() - began,
        findings=findings,
        notes=tuple(notes),
    )


def _add(findings: Findings, place: _Place) -> None:
    assert place.first is not None
    findings.add(
        Difference(
            where="checkpoints", position=place.first.checkpoint.position, text=place.sentence()
        )
    )
