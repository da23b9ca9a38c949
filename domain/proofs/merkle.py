"""The Merkle tree of the log: RFC 6962, section 2.1, with SHA-256.

A node is named by its level and its number: node (l, n) covers the 2^l leaves from n * 2^l on, and
all of them exist. A tree of any size is made of such nodes.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

# Where at least so many leaves come at once, they are hashed level by level.
_BLOCK = 256
EMPTY_ROOT = sha256(b"").digest()

Node = tuple[int, int]
NodeHash = tuple[int, int, bytes]


def parent(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """A growing tree that keeps the nodes at its right edge and forgets the others."""

    def __init__(self, size: int = 0, edge: Sequence[bytes] = ()) -> None:
        """edge: hashes of `edge_nodes(size)`."""
        assert len(edge) == size.bit_count()
        self.size = size
        self._edge = list(edge)

    def add(self, leaf: bytes, keep: Callable[[NodeHash], None], *, from_level: int) -> None:
        """keep: called with every node of that level or above that the leaf completes."""
        self._join(0, self.size, leaf, keep, from_level)
        self.size += 1

    def extend(
        self, leaves: Sequence[bytes], keep: Callable[[NodeHash], None], *, from_level: int
    ) -> None:
        """As `add` for each of them; twice as fast where there are many."""
        place = 0
        while place < len(leaves):
            if self.size % _BLOCK == 0 and len(leaves) - place >= _BLOCK:
                self._add_block(leaves[place : place + _BLOCK], keep, from_level)
                place += _BLOCK
            else:
                self.add(leaves[place], keep, from_level=from_level)
                place += 1

    def _add_block(
        self, nodes: Sequence[bytes], keep: Callable[[NodeHash], None], from_level: int
    ) -> None:
        level = 0
        while len(nodes) > 1:
            nodes = [
                sha256(b"\x01" + nodes[left] + nodes[left + 1]).digest()
                for left in range(0, len(nodes), 2)
            ]
            level += 1
            if level >= from_level:
                first = self.size >> level
                for number, node in enumerate(nodes, first):
                    keep((level, number, node))
        self._join(level, self.size >> level, nodes[0], keep, from_level)
        self.size += _BLOCK

    def _join(
        self,
        level: int,
        number: int,
        node: bytes,
        keep: Callable[[NodeHash], None],
        from_level: int,
    ) -> None:
        """Puts the node at the edge and joins it with those that it completes."""
        while number & 1:
            node = parent(self._edge.pop(), node)
            number >>= 1
            level += 1
            if level >= from_level:
                keep((level, number, node))
        self._edge.append(node)

    def root(self) -> bytes:
        return joined(self._edge)


def edge_nodes(size: int) -> list[Node]:
    """The nodes at the edge of a tree of that size, the largest first."""
    nodes: list[Node] = []
    start = 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            nodes.append((level, start >> level))
            start += 1 << level
    return nodes


def joined(hashes: Sequence[bytes]) -> bytes:
    """The hash over neighbouring nodes, each smaller than the one before it."""
    if not hashes:
        return EMPTY_ROOT
    *rest, result = hashes
    for left in reversed(rest):
        result = parent(left, result)
    return result


def path_nodes(index: int, size: int) -> list[list[Node]]:
    """The inclusion proof of a leaf, from the leaf up: for each of its hashes the nodes from which
    `joined` computes it."""
    assert 0 <= index < size
    path: list[list[Node]] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        if index < middle:
            path.append(_range_nodes(middle, end))
            end = middle
        else:
            path.append(_range_nodes(start, middle))
            start = middle
    return path[::-1]


def _range_nodes(start: int, end: int) -> list[Node]:
    """start: a multiple of a power of two that is not less than end - start."""
    return [(level, (start >> level) + number) for level, number in edge_nodes(end - start)]


def root_of_path(leaf: bytes, index: int, size: int, path: Iterable[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to (RFC 9162, section 2.1.3.2); None for one of the
    wrong length."""
    if not 0 <= index < size:
        return None
    number, last = index, size - 1
    for sibling in path:
        if not last:
            return None
        if number & 1 or number == last:
            leaf = parent(sibling, leaf)
            while not number & 1 and number:
                number >>= 1
                last >>= 1
        else:
            leaf = parent(leaf, sibling)
        number >>= 1
        last >>= 1
    return None if last else leaf
