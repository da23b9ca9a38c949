"""The signed part of the log, and the Merkle tree over it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from psycopg import AsyncConnection

from domain.proofs.checkpoints import NO_PREVIOUS, Checkpoint
from domain.proofs.leaves import CHAIN_START, Link
from domain.proofs.merkle import Frontier, NodeHash, edge_nodes
from infrastructure.proofs.checkpoints.records import BadRecord, SignedCheckpoint
from infrastructure.proofs.checkpoints.signing_key import SigningKey
from infrastructure.proofs.checkpoints.tree_store import (
    LEVEL,
    READ_LINKS,
    MissingLeaves,
    Query,
    read_log_id,
    read_nodes,
)

log = structlog.get_logger()

_RECORDS_MAX = 100
_LINKS_MAX = 200
_NUMBER_MAX = 2**63 - 1


class LogDisagrees(Exception):
    """The database differs from what was signed, so nothing more is signed. The text says where."""


def query_on(connection: AsyncConnection[Any]) -> Query:
    async def query(text: str, parameters: Any) -> list[tuple[Any, ...]]:
        async with connection.cursor(binary=True) as cursor:
            await cursor.execute(text.encode(), parameters)
            return await cursor.fetchall()

    return query


async def _newest_first(query: Query) -> AsyncIterator[SignedCheckpoint | None]:
    """All stored checkpoints, and None for each row that is none. They are read in pages, because
    somebody else may have put any number behind ours."""
    before = _NUMBER_MAX
    while found := await query(
        "SELECT number, record FROM ledger.checkpoints WHERE number < %s"
        " ORDER BY number DESC LIMIT %s",
        (before, _RECORDS_MAX),
    ):
        before = found[-1][0]
        for _, record in found:
            try:
                yield SignedCheckpoint.from_line(record)
            except BadRecord:
                yield None


class SignedLog:
    """last: the newest checkpoint. position, chain, tree: of the log as far as it was read."""

    def __init__(self, connection: AsyncConnection[Any], key: SigningKey, log_id: UUID) -> None:
        """Use `resume`."""
        self.id = log_id
        self._connection = connection
        self._query = query_on(connection)
        self._key = key
        self._new_nodes: list[NodeHash] = []
        self.last: SignedCheckpoint | None = None
        self.position = 0
        self.chain = CHAIN_START
        self.tree = Frontier()

    @classmethod
    async def resume(cls, connection: AsyncConnection[Any], key: SigningKey) -> "SignedLog":
        """Continue behind the newest checkpoint of this key; if the key has none, behind the newest
        one of another key that agrees with the log. Raises LogDisagrees if the log differs from the
        checkpoint of this key."""
        signed = cls(connection, key, await read_log_id(query_on(connection)))
        ignored = 0
        async for last in _newest_first(signed._query):
            if last is not None and last.is_signed_by(key.public):
                await signed._start_from(last)
                break
            ignored += 1
        else:
            # A new key continues where the key before it stopped.
            await signed._start_from_another_key()
        if ignored:
            log.warning("foreign_checkpoints_ignored", count=ignored)
        return signed

    async def _start_from_another_key(self) -> None:
        async for last in _newest_first(self._query):
            if last is not None:
                with suppress(LogDisagrees):
                    await self._start_from(last)
                    return

    async def _start_from(self, last: SignedCheckpoint) -> None:
        signed = last.checkpoint
        where = f"the checkpoint at position {signed.position}"
        if signed.log != self.id:
            raise LogDisagrees(f"{where} is of another log, {signed.log}")
        found = await self._query(
            "SELECT events, hash FROM ledger.links WHERE position = %s", (signed.position,)
        )
        if found != [(signed.events, signed.chain)]:
            raise LogDisagrees(
                f"the log is not what {where} says; run `chatledger audit verify` to see what was"
                " changed"
            )
        tree = await self._tree_from_nodes(signed)
        if tree is None or tree.root() != signed.root:
            # Anybody with the service's role can add nodes, but only the trigger adds links.
            log.warning("stored_tree_not_believed", position=signed.position)
            tree = await self._tree_from_links(signed)
        if tree.root() != signed.root:
            raise LogDisagrees(
                f"the log's tree is not what {where} says; run `chatledger audit verify` to see"
                " what was changed"
            )
        self.last, self.tree = last, tree
        self.position, self.chain = signed.position, signed.chain

    async def _tree_from_nodes(self, signed: Checkpoint) -> Frontier | None:
        """Reads few nodes. None if some of them are missing."""
        nodes = edge_nodes(signed.events)
        try:
            hashes = await read_nodes(self._query, nodes)
        except MissingLeaves:
            return None
        return Frontier(signed.events, [hashes[node] for node in nodes])

    async def _tree_from_links(self, signed: Checkpoint) -> Frontier:
        """Reads all links up to the checkpoint."""
        tree, position = Frontier(), 0
        while position < signed.position:
            found = await self._query(READ_LINKS, (position, _LINKS_MAX))
            for link in (Link(*row) for row in found):
                if link.position <= signed.position:
                    tree.extend(link.leaves(), lambda _: None, from_level=LEVEL)
                position = link.position
            if not found:
                break
        return tree

    @property
    def events_unsigned(self) -> int:
        return self.tree.size - (self.last.checkpoint.events if self.last else 0)

    async def read_more(self, *, links_max: int, leaves_max: int) -> bool:
        """Read the next links. Returns whether there may be more of them.

        leaves_max: see `CheckpointSettings`. Raises LogDisagrees for a link that does not follow
        from the one before it.
        """
        found = await self._query(READ_LINKS, (self.position, links_max))
        leaves: list[bytes] = []
        for row in found:
            link = Link(*row)
            if not link.follows(self.chain) or link.first_index != self.tree.size + len(leaves):
                raise LogDisagrees(
                    f"the chain breaks between positions {self.position} and {link.position}; run"
                    " `chatledger audit verify` to see what was changed"
                )
            leaves += link.leaves()
            self.position, self.chain = link.position, link.hash
        for first in range(0, len(leaves), leaves_max):
            self.tree.extend(
                leaves[first : first + leaves_max], self._new_nodes.append, from_level=LEVEL
            )
            await asyncio.sleep(0)
        return len(found) == links_max

    async def sign(self, now: datetime) -> SignedCheckpoint:
        """Sign the log as far as it was read, and store the checkpoint. Raises psycopg.Error."""
        previous = NO_PREVIOUS if self.last is None else self.last.checkpoint.hash
        checkpoint = Checkpoint(
            log=self.id,
            position=self.position,
            events=self.tree.size,
            chain=self.chain,
            root=self.tree.root(),
            previous=previous,
            signed_at=now,
            key_id=self._key.public.id,
        )
        record = SignedCheckpoint.sign(checkpoint, self._key)
        levels, numbers, hashes = ([node[part] for node in self._new_nodes] for part in range(3))
        async with self._connection.transaction():
            await self._connection.execute(
                "INSERT INTO ledger.tree_nodes (level, number, hash)"
                " SELECT * FROM unnest(%s::smallint[], %s::bigint[], %s::bytea[])"
                " ON CONFLICT DO NOTHING",
                (levels, numbers, hashes),
            )
            await self._connection.execute(
                "INSERT INTO ledger.checkpoints (position, record) VALUES (%s, %s)",
                (checkpoint.position, record.line),
            )
        self._new_nodes.clear()
        self.last = record
        return record
