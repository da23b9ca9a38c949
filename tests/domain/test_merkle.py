"""The tree against the definitions of RFC 6962, written down as they stand there."""

from hashlib import sha256

import pytest

from domain.proofs.merkle import (
    Frontier,
    Node,
    NodeHash,
    edge_nodes,
    joined,
    path_nodes,
    root_of_path,
)

SIZES = [*range(20), 31, 32, 33, 100, 255, 256, 257, 1000]


def leaves(size: int) -> list[bytes]:
    return [sha256(bytes([0]) + str(number).encode()).digest() for number in range(size)]


def largest_power_below(size: int) -> int:
    power = 1
    while 2 * power < size:
        power *= 2
    return power


def naive_root(given: list[bytes]) -> bytes:
    """MTH of section 2.1."""
    if not given:
        return sha256(b"").digest()
    if len(given) == 1:
        return given[0]
    k = largest_power_below(len(given))
    return sha256(b"\x01" + naive_root(given[:k]) + naive_root(given[k:])).digest()


def naive_path(index: int, given: list[bytes]) -> list[bytes]:
    """PATH of section 2.1.1."""
    if len(given) == 1:
        return []
    k = largest_power_below(len(given))
    if index < k:
        return [*naive_path(index, given[:k]), naive_root(given[k:])]
    return [*naive_path(index - k, given[k:]), naive_root(given[:k])]


def grown(size: int) -> tuple[Frontier, dict[Node, bytes]]:
    nodes: dict[Node, bytes] = {}
    tree = Frontier()
    for number, leaf in enumerate(leaves(size)):
        nodes[0, number] = leaf

        def keep(node: NodeHash) -> None:
            nodes[node[0], node[1]] = node[2]

        tree.add(leaf, keep, from_level=1)
    return tree, nodes


@pytest.mark.parametrize("size", SIZES)
def test_a_tree_that_grew_leaf_by_leaf_has_the_root_of_the_definition(size: int) -> None:
    assert grown(size)[0].root() == naive_root(leaves(size))


@pytest.mark.parametrize("size", SIZES)
def test_a_tree_goes_on_from_the_nodes_at_its_edge(size: int) -> None:
    _, nodes = grown(size)
    tree = Frontier(size, [nodes[node] for node in edge_nodes(size)])
    assert tree.root() == naive_root(leaves(size))
    for leaf in leaves(size + 5)[size:]:
        tree.add(leaf, lambda _: None, from_level=1)
    assert tree.root() == naive_root(leaves(size + 5))


@pytest.mark.parametrize("begin", [0, 1, 200, 256])
@pytest.mark.parametrize("size", [0, 255, 256, 257, 511, 512, 1000])
def test_many_leaves_at_once_make_the_tree_of_one_after_the_other(begin: int, size: int) -> None:
    given = leaves(begin + size)
    slow, fast = Frontier(), Frontier()
    slow_nodes: list[NodeHash] = []
    fast_nodes: list[NodeHash] = []
    for leaf in given:
        slow.add(leaf, slow_nodes.append, from_level=1)
    for leaf in given[:begin]:
        fast.add(leaf, fast_nodes.append, from_level=1)
    fast.extend(given[begin:], fast_nodes.append, from_level=1)

    assert (fast.size, fast.root()) == (slow.size, slow.root())
    assert sorted(fast_nodes) == sorted(slow_nodes)


@pytest.mark.parametrize("size", [size for size in SIZES if size])
def test_the_path_of_every_leaf_is_that_of_the_definition_and_leads_to_the_root(size: int) -> None:
    tree, nodes = grown(size)
    given = leaves(size)
    for index in range(0, size, 1 if size < 40 else 37):
        path = [joined([nodes[node] for node in part]) for part in path_nodes(index, size)]
        assert path == naive_path(index, given)
        assert root_of_path(given[index], index, size, path) == tree.root()


def test_no_other_leaf_place_or_size_leads_to_the_root() -> None:
    tree, nodes = grown(13)
    given = leaves(13)
    path = [joined([nodes[node] for node in part]) for part in path_nodes(6, 13)]
    assert root_of_path(given[6], 6, 13, path) == tree.root()
    assert root_of_path(given[7], 6, 13, path) != tree.root()
    assert root_of_path(given[6], 7, 13, path) != tree.root()
    assert root_of_path(given[6], 6, 13, path[:-1]) is None
    assert root_of_path(given[6], 6, 13, [*path, path[0]]) is None
    assert root_of_path(given[6], 13, 13, path) is None
    for place in range(len(path)):
        changed = [*path[:place], bytes(32), *path[place + 1 :]]
        assert root_of_path(given[6], 6, 13, changed) != tree.root()


def test_the_empty_tree_has_the_root_of_the_rfc() -> None:
    assert (
        Frontier().root().hex()
        == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
