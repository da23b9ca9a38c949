"""The Merkle tree of the log in the database: nodes from LEVEL on are rows, smaller ones are
computed from the links' leaves."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from domain.proofs.leaves import ENTRY_BYTES, Link
from domain.proofs.merkle import Frontier, Node, joined, path_nodes

# A node of this level is over 256 leaves.
LEVEL = 8
_BLOCK = 1 << LEVEL

# Rows of a query; values travel beside the text.
Rows = Callable[[str, Sequence[Any]], Awaitable[list[tuple[Any, ...]]]]

READ_LINKS = (
    "SELECT position, events, entries, hash FROM ledger.links"
    " WHERE position > %s ORDER BY position LIMIT %s"
)


class MissingLeaves(Exception):
    """The database's links or nodes do not have what the tree is made of."""


async def read_log_id(rows: Rows) -> UUID:
    ((log,),) = await rows("SELECT id FROM ledger.identity", ())
    assert isinstance(log, UUID)
    return log


async def read_nodes(rows: Rows, nodes: Iterable[Node]) -> dict[Node, bytes]:
    """Their hashes. Raises MissingLeaves."""
    wanted = set(nodes)
    stored = [node for node in wanted if node[0] >= LEVEL]
    found: dict[Node, bytes] = {}
    if stored:
        for level, number, node_hash in await rows(
            "SELECT level, number, hash FROM ledger.tree_nodes JOIN"
            " unnest(%s::smallint[], %s::bigint[]) AS wanted (level, number)"
            " USING (level, number)",
            ([level for level, _ in stored], [number for _, number in stored]),
        ):
            found[level, number] = bytes(node_hash)
    blocks = {number << level >> LEVEL for level, number in wanted if level < LEVEL}
    for block in blocks:
        leaves = await read_leaves(rows, block << LEVEL, _BLOCK)
        for level, number in wanted:
            start = (number << level) - (block << LEVEL)
            if level < LEVEL and 0 <= start < _BLOCK:
                found[level, number] = _node_of(leaves[start : start + (1 << level)], level)
    if missing := wanted - found.keys():
        raise MissingLeaves(f"the database lacks node {min(missing)} of the log's tree")
    return found


async def read_leaves(rows: Rows, first: int, count: int) -> list[bytes]:
    """Of that many events from index `first` on; fewer where the log ends."""
    leaves: list[bytes] = []
    for events, length, entries in await rows(
        "SELECT events, octet_length(entries), substr(entries,"
        "  1 + %s * greatest(0, %s - events + octet_length(entries) / %s)::int, %s)"
        " FROM ledger.links WHERE events > %s AND events - octet_length(entries) / %s < %s"
        " ORDER BY events LIMIT %s",
        (
            *(ENTRY_BYTES, first, ENTRY_BYTES, ENTRY_BYTES * count),
            *(first, ENTRY_BYTES, first + count, count),
        ),
    ):
        link = Link(0, events, entries, b"")
        assert events - length // ENTRY_BYTES <= first + len(leaves), "links have no gaps"
        leaves += link.leaves()
    return leaves[:count]


async def read_path(rows: Rows, index: int, size: int) -> list[bytes]:
    """The inclusion proof of the event with that index in the log's first `size` events."""
    parts = path_nodes(index, size)
    found = await read_nodes(rows, (node for nodes in parts for node in nodes))
    return [joined([found[node] for node in nodes]) for nodes in parts]


def _node_of(leaves: Sequence[bytes], level: int) -> bytes:
    if len(leaves) != 1 << level:
        raise MissingLeaves("the database lacks links of the log")
    tree = Frontier()
    for leaf in leaves:
        tree.add(leaf, lambda _: None, from_level=LEVEL + 1)
    return tree.root()
