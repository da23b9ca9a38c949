"""The part of the composition root that builds what proves the log."""

import os

from application.ledger.event_macs import event_macs
from application.ledger.keys import LedgerKeys
from infrastructure.process.clock_ids import SystemClock
from infrastructure.proofs.checkpoints.proofs import PostgresProofs
from infrastructure.proofs.checkpoints.service import CheckpointService
from infrastructure.proofs.checkpoints.settings import CheckpointSettings
from infrastructure.proofs.checkpoints.signing_key import SigningKey
from infrastructure.read_models.queries import PostgresReadModels
from infrastructure.read_models.rebuild.shadow_tables import ReplayBounds
from infrastructure.relay.settings import ProjectionSettings
from infrastructure.settings.service import Settings


def build_proofs(
    settings: Settings, read_models: PostgresReadModels, keys: LedgerKeys
) -> PostgresProofs:
    """Raises KeyUnusable, OSError."""
    return PostgresProofs(
        read_models.rows,
        SigningKey.from_file(settings.checkpoint_key_file).public,
        event_macs(keys),
        SystemClock(),
        expected_s=settings.checkpoint_interval_s,
    )


def checkpoint_settings(settings: Settings) -> CheckpointSettings:
    return CheckpointSettings(
        folder=settings.checkpoint_folder,
        events_max=settings.checkpoint_events,
        interval_s=settings.checkpoint_interval_s,
        connections=ProjectionSettings(
            stream=settings.nats_stream, connect_timeout_s=settings.database_timeout_s
        ),
    )


def replay_bounds(settings: Settings) -> ReplayBounds:
    return ReplayBounds(
        processes=settings.replay_processes or os.cpu_count() or 1,
        connect_timeout_s=settings.database_timeout_s,
    )


def build_checkpoints(settings: Settings, service_url: str, nats_url: str) -> CheckpointService:
    """Raises KeyUnusable, OSError."""
    return CheckpointService(
        service_url,
        nats_url,
        checkpoint_settings(settings),
        SigningKey.from_file(settings.checkpoint_key_file),
        SystemClock(),
    )
