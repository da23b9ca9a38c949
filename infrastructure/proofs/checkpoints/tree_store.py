"""The log's Merkle tree in the database. Nodes of LEVEL and above are rows; those below are
computed from the leaves in the links."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from domain.proofs.leaves import ENTRY_BYTES, Link
from domain.proofs.merkle import Frontier, Node, joined, path_nodes

# A node of this level covers 256 leaves.
LEVEL = 8
_BLOCK = 1 << LEVEL

# Runs a query with its parameters and returns the rows.
Query = Callable[[str, Sequence[Any]], Awaitable[list[tuple[Any, ...]]]]

READ_LINKS = (
    "SELECT position, events, entries, hash FROM ledger.links"
    " WHERE position > %s ORDER BY position LIMIT %s"
)


class MissingLeaves(Exception):
    """The database lacks links or nodes that the tree needs."""


async def read_log_id(query: Query) -> UUID:
    ((log,),) = await query("SELECT id FROM ledger.identity", ())
    assert isinstance(log, UUID)
    return log


async def read_nodes(query: Query, nodes: Iterable[Node]) -> dict[Node, bytes]:
    """The nodes' hashes. Raises MissingLeaves."""
    wanted = set(nodes)
    stored = [node for node in wanted if node[0] >= LEVEL]
    found: dict[Node, bytes] = {}
    if stored:
        for level, number, node_hash in await query(
            "SELECT level, number, hash FROM ledger.tree_nodes JOIN"
            " unnest(%s::smallint[], %s::bigint[]) AS wanted (level, number)"
            " USING (level, number)",
            ([level for level, _ in stored], [number for _, number in stored]),
        ):
            found[level, number] = bytes(node_hash)
    blocks = {number << level >> LEVEL for level, number in wanted if level < LEVEL}
    for block in blocks:
        leaves = await read_leaves(query, block << LEVEL, _BLOCK)
        for level, number in wanted:
            start = (number << level) - (block << LEVEL)
            if level < LEVEL and 0 <= start < _BLOCK:
                found[level, number] = _node_of(leaves[start : start + (1 << level)], level)
    if missing := wanted - found.keys():
        raise MissingLeaves(f"the database lacks node {min(missing)} of the log's tree")
    return found


async def read_leaves(query: Query, first: int, count: int) -> list[bytes]:
    """The leaves of `count` events from index `first` on; fewer at the end of the log."""
    leaves: list[bytes] = []
    for events, length, entries in await query(
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


async def read_path(query: Query, index: int, size: int) -> list[bytes]:
    """The inclusion proof of event `index` in the tree of the log's first `size` events.

    Raises MissingLeaves.
    """
    parts = path_nodes(index, size)
    found = await read_nodes(query, (node for nodes in parts for node in nodes))
    return [joined([found[node] for node in nodes]) for nodes in parts]


def _node_of(leaves: Sequence[bytes], level: int) -> bytes:
    if len(leaves) != 1 << level:
        raise MissingLeaves("the database lacks links of the log")
    tree = Frontier()
    for leaf in leaves:
        tree.add(leaf, lambda _: None, from_level=LEVEL + 1)
    return tree.root()
