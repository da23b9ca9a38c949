"""Makes inclusion proofs from the chain's links, the Merkle tree and the newest checkpoint."""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from application.ledger.event_macs import StateMacs, not_authentic
from application.ports import Clock
from application.proofs import Proof, Proofs, ProvenEvent
from application.read_models import ReceiptView
from domain.proofs.leaves import Link
from domain.proofs.merkle import root_of_path
from infrastructure.proofs.checkpoints.records import BadRecord, SignedCheckpoint
from infrastructure.proofs.checkpoints.signing_key import PublicKey
from infrastructure.proofs.checkpoints.tree_store import MissingLeaves, Query, read_path

log = structlog.get_logger()

# How many of the newest records are read, because others may have put theirs behind ours.
_RECORDS_MAX = 20


class PostgresProofs(Proofs):
    """key: that our checkpoints are signed with.

    macs: prove that the ledger wrote the events. A checkpoint does not prove it, because it covers
        whatever is in the log.
    expected_s: within which a new event is covered by a checkpoint.
    """

    def __init__(
        self, query: Query, key: PublicKey, macs: StateMacs, clock: Clock, *, expected_s: float
    ) -> None:
        self._query = query
        self._key = key
        self._macs = macs
        self._clock = clock
        self._expected = timedelta(seconds=expected_s)

    async def of_receipt(self, receipt: ReceiptView) -> Proof:
        refunds = await self._query(
            "SELECT position FROM read.transactions WHERE message_id = %s AND type = 'refund'",
            (receipt.message_id,),
        )
        positions = {
            receipt.hold_position,
            receipt.settlement_position,
            receipt.response_position,
            *(position for (position,) in refunds),
        }
        return await self._of_events(sorted(p for p in positions if p is not None))

    async def _of_events(self, positions: Sequence[int]) -> Proof:
        signed = await self._newest()
        if signed is not None and signed.checkpoint.position >= positions[-1]:
            try:
                size = signed.checkpoint.events
                events = await self._events(positions, size)
                if any(
                    root_of_path(event.leaf, event.index, size, event.path)
                    != signed.checkpoint.root
                    for event in events
                ):
                    raise MissingLeaves("a node of the stored Merkle tree was changed")
                return Proof(events=events, checkpoint=signed.line, expected_by=None)
            except MissingLeaves as error:
                log.error("proof_impossible", reason=str(error))
        return Proof(
            events=await self._events(positions, 0),
            checkpoint=None,
            expected_by=self._clock.now() + self._expected,
        )

    async def _events(self, positions: Sequence[int], size: int) -> tuple[ProvenEvent, ...]:
        """size: of the tree; 0 leaves the paths out. Raises EventNotAuthentic, MissingLeaves."""
        rows = await self._query(
            "SELECT e.notification_id, e.originator_id, e.originator_version, e.recorded_at,"
            "  e.topic, e.state, m.state, l.position, l.events, l.entries"
            " FROM ledger.ledger_events AS e"
            " JOIN ledger.events_with_macs AS m USING (notification_id) CROSS JOIN LATERAL ("
            "  SELECT * FROM ledger.links WHERE position >= e.notification_id"
            "  ORDER BY position LIMIT 1) AS l"
            " WHERE e.notification_id = ANY(%s) ORDER BY e.notification_id",
            (list(positions),),
        )
        events: list[ProvenEvent] = []
        for position, stream_id, version, recorded_at, topic, state, with_mac, *in_link in rows:
            doubt = self._macs.doubt(stream_id.bytes, version, topic, with_mac)
            if doubt is not None:
                raise not_authentic(stream_id, version, topic, doubt, position)
            last, count, entries = in_link
            link = Link(last, count, entries, b"")
            if position not in (positions_in_link := link.positions()):
                raise MissingLeaves(f"the event at position {position} is in no link")
            place = positions_in_link.index(position)
            index = link.first_index + place
            events.append(
                ProvenEvent(
                    position=position,
                    stream_id=stream_id,
                    version=version,
                    recorded_at=recorded_at,
                    topic=topic,
                    state=state,
                    leaf=link.leaves()[place],
                    index=index,
                    path=tuple(await read_path(self._query, index, size)) if size else (),
                )
            )
        return tuple(events)

    async def _newest(self) -> SignedCheckpoint | None:
        for (record,) in await self._query(
            "SELECT record FROM ledger.checkpoints ORDER BY number DESC LIMIT %s", (_RECORDS_MAX,)
        ):
            try:
                signed = SignedCheckpoint.from_line(record)
            except BadRecord:
                continue
            if signed.is_signed_by(self._key):
                return signed
        return None
