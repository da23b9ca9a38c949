"""Walks through the log, its hash chain and its Merkle tree, and compares checkpoints with them."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from psycopg import Connection

from domain.proofs.checkpoints import NO_PREVIOUS
from domain.proofs.leaves import CHAIN_START, ENTRY_BYTES, Link
from domain.proofs.merkle import Frontier, NodeHash
from infrastructure.proofs.checkpoints.records import SignedCheckpoint
from infrastructure.proofs.checkpoints.signing_key import PublicKey
from infrastructure.proofs.checkpoints.tree_store import LEVEL, READ_LINKS
from infrastructure.proofs.verify.report import Difference, Findings, PartReport, Progress

_LINKS_MAX = 500
# How many lines that are no checkpoints are listed: others may publish any number of them.
_NOTES_MAX = 20
# Leaves are collected and hashed in blocks of about this many.
_LEAVES_MAX = 4096


class ChainWalk:
    """Uses constant memory: a page of events, a page of links, and the tree's edge."""

    def __init__(
        self, connection: Connection[Any], entries: Iterator[bytes], *, until: int
    ) -> None:
        """entries: of the log's events, in pages, see `read_entries`. until: the last position."""
        self._connection = connection
        self._until = until
        self._pages = entries
        self._waiting = b""
        self._place = 0
        self.findings = Findings()
        self.events = 0
        self.position = 0
        self.chain = CHAIN_START
        self.size = 0
        self._tree = Frontier()
        self._leaves: list[bytes] = []
        self.new_nodes: list[NodeHash] = []

    def links(self) -> Iterator[Link]:
        """All links in order. Each is compared with the link before it and with its events."""
        after = 0
        while True:
            rows = self._connection.execute(
                READ_LINKS, (after, _LINKS_MAX), prepare=True, binary=True
            ).fetchall()
            for row in rows:
                link = Link(*row)
                if link.position <= self._until:
                    self._take(link)
                    yield link
            if not rows or rows[-1][0] >= self._until:
                break
            after = rows[-1][0]
        self._expect_no_events()

    def _take(self, link: Link) -> None:
        if not link.follows(self.chain):
            self._differs(
                link.position,
                f"the chain breaks between positions {self.position} and {link.position}: the hash"
                f" stored with position {link.position} does not follow from what is before it",
            )
        elif link.first_index != self.size:
            self._differs(
                link.position,
                f"the link at position {link.position} says that it begins with event number"
                f" {link.first_index + 1}, and it is number {self.size + 1}",
            )
        self._compare_events(link)
        self._leaves += link.leaves()
        if len(self._leaves) >= _LEAVES_MAX:
            self.root()
        self.size += len(link.entries) // ENTRY_BYTES
        self.chain, self.position = link.hash, link.position

    def root(self) -> bytes:
        self._tree.extend(self._leaves, self.new_nodes.append, from_level=LEVEL)
        self._leaves = []
        return self._tree.root()

    def _compare_events(self, link: Link) -> None:
        count = len(link.entries) // ENTRY_BYTES
        if self._peek(count) == link.entries:
            self._place += len(link.entries)
            self.events += count
            return
        stored = {
            link.entries[place : place + 8]: link.entries[place : place + ENTRY_BYTES]
            for place in range(0, len(link.entries), ENTRY_BYTES)
        }
        end = link.position.to_bytes(8, "big")
        while entry := self._peek(1):
            if entry[:8] > end:
                break
            self._place += ENTRY_BYTES
            self.events += 1
            position = int.from_bytes(entry[:8], "big")
            expected = stored.pop(entry[:8], None)
            if expected is None:
                self._differs(position, f"the event at position {position} was inserted afterwards")
            elif expected != entry:
                self._differs(position, f"the event at position {position} was changed")
        for key in sorted(stored):
            position = int.from_bytes(key, "big")
            self._differs(position, f"the event at position {position} was removed")

    def _expect_no_events(self) -> None:
        while entry := self._peek(1):
            self._place += ENTRY_BYTES
            position = int.from_bytes(entry[:8], "big")
            self._differs(position, f"the event at position {position} is in no link of the chain")

    def _peek(self, count: int) -> bytes:
        """The next `count` entries; fewer at the end of the log."""
        wanted = count * ENTRY_BYTES
        while len(self._waiting) - self._place < wanted:
            page = next(self._pages, None)
            if page is None:
                break
            self._waiting = self._waiting[self._place :] + page
            self._place = 0
        return self._waiting[self._place : self._place + wanted]

    def _differs(self, position: int, text: str) -> None:
        self.findings.add(Difference(where="log", position=position, text=text))


class CheckpointCheck:
    """Compares checkpoints, oldest first, with a walk through the log.

    notes_later: notes of whoever supplies the records, complete when all were read. looked_at: see
    `PartReport`.
    """

    def __init__(
        self, name: str, records: Iterable[SignedCheckpoint | str], keys: Iterable[PublicKey]
    ) -> None:
        """name: of the report. records: checkpoints, or texts about lines that are none."""
        self._name = name
        self._records = iter(records)
        self._keys = {key.id: key for key in keys}
        self._previous = NO_PREVIOUS
        self._agreed = 0
        self.findings = Findings()
        self.notes: list[str] = []
        self._unread = 0
        self.checked = 0
        self.notes_later: list[str] = []
        self.looked_at = True
        self._next = self._read()

    def at(self, walk: ChainWalk) -> None:
        """Call it after every link."""
        while self._next is not None and self._next.checkpoint.position <= walk.position:
            self._compare(self._next, walk)
            self._next = self._read()

    def end(self, walk: ChainWalk) -> None:
        while self._next is not None:
            position = self._next.checkpoint.position
            self._differs(
                position,
                f"the log ends at position {walk.position}, but a checkpoint was signed at position"
                f" {position}: the end of the log was removed",
            )
            self._next = self._read()

    def report(self, seconds: float) -> PartReport:
        if self._unread > _NOTES_MAX:
            self.notes.append(f"{self._unread - _NOTES_MAX} more lines are no checkpoints")
        return PartReport(
            name=self._name,
            what="checkpoints",
            checked=self.checked,
            seconds=seconds,
            findings=self.findings,
            notes=(*self.notes, *self.notes_later),
            looked_at=self.looked_at,
        )

    def _read(self) -> SignedCheckpoint | None:
        """The next checkpoint that one of our keys has signed. Others say nothing about the log."""
        for record in self._records:
            if isinstance(record, str):
                # A crash may leave such a line. If a record is missing, the next record shows it.
                self._unread += 1
                if self._unread <= _NOTES_MAX:
                    self.notes.append(record)
                continue
            signed = record.checkpoint
            where = f"the checkpoint at position {signed.position}"
            key = self._keys.get(signed.key_id)
            if key is not None and record.is_signed_by(key):
                return record
            self.checked += 1
            if key is None:
                text = f"{where} is signed by an unknown key, {signed.key_id}"
            else:
                text = f"the signature of {where} is wrong"
            self._differs(signed.position, text)
        return None

    def _compare(self, record: SignedCheckpoint, walk: ChainWalk) -> None:
        signed = record.checkpoint
        self.checked += 1
        if signed.previous != self._previous:
            self._differs(
                signed.position,
                f"a checkpoint before the checkpoint at position {signed.position} is missing or"
                " was changed",
            )
        if (signed.position, signed.events, signed.chain, signed.root) == (
            *(walk.position, walk.size, walk.chain, walk.root()),
        ):
            self._agreed = signed.position
        else:
            self._differs(
                signed.position,
                f"the log up to position {signed.position} is not what was signed there; it was"
                f" changed behind position {self._agreed}",
            )
        self._previous = signed.hash

    def _differs(self, position: int, text: str) -> None:
        self.findings.add(Difference(where="checkpoints", position=position, text=text))


def verify_chain(
    connection: Connection[Any],
    entries: Iterator[bytes],
    checks: Sequence[CheckpointCheck],
    *,
    until: int,
    on_progress: Progress,
) -> PartReport:
    """entries: of the log's events up to `until`, in pages. checks: are called at every link of the
    walk. until: the last position to look at. Raises psycopg.Error."""
    began = time.monotonic()
    walk = ChainWalk(connection, entries, until=until)
    for link in walk.links():
        for check in checks:
            check.at(walk)
        if walk.new_nodes:
            _compare_nodes(connection, walk.new_nodes, walk.findings)
            on_progress(link.position / max(until, 1))
    for check in checks:
        check.end(walk)
    walk.root()
    _compare_nodes(connection, walk.new_nodes, walk.findings)
    on_progress(1.0)
    return PartReport(
        name="log",
        what="events",
        checked=walk.events,
        seconds=time.monotonic() - began,
        findings=walk.findings,
    )


def _compare_nodes(connection: Connection[Any], nodes: list[NodeHash], findings: Findings) -> None:
    """Compare the stored nodes, which proofs are made of, with the walk's. Nodes behind the last
    checkpoint are not stored yet."""
    stored = connection.execute(
        "SELECT level, number, hash FROM ledger.tree_nodes"
        " JOIN unnest(%s::smallint[], %s::bigint[]) AS wanted (level, number)"
        " USING (level, number)",
        ([node[0] for node in nodes], [node[1] for node in nodes]),
        binary=True,
    ).fetchall()
    right = set(nodes)
    for level, number, node_hash in stored:
        if (level, number, bytes(node_hash)) not in right:
            findings.add(
                Difference(
                    where="log",
                    row=f"level {level}, number {number}",
                    text=f"node {number} of level {level} of the stored Merkle tree was changed",
                )
            )
    nodes.clear()
