"""`chatledger backup FILE` and `chatledger restore FILE`."""

import argparse
import asyncio
import sys
from pathlib import Path

from application.ledger.event_macs import event_macs
from application.ledger.keys import LedgerKeys
from infrastructure.backup.archive import Manifest, open_archive
from infrastructure.backup.dump import SEALS_TABLE
from infrastructure.process.clock_ids import SystemClock
from infrastructure.proofs.checkpoints.signing_key import SigningKey
from infrastructure.secrets.ledger_key_file import load_ledger_keys, make_ledger_keys
from infrastructure.settings.service import Settings
from interfaces.cli.audit.book_tables import moment
from interfaces.cli.audit.verify import EXIT_DIFFERS, as_text, verify_with
from interfaces.cli.options import settings_from
from interfaces.composition.endpoints import Endpoints, open_endpoints
from interfaces.composition.ledger_keys import macs_of_log
from interfaces.composition.proofs import replay_bounds


def backup(options: argparse.Namespace) -> int:
    """Beside a running service too. Raises BackupRefused."""
    from rich.console import Console
    from rich.progress import Progress

    from infrastructure.backup.dump import backup as make

    settings = settings_from(options)
    with (
        open_endpoints(settings, lambda _: None, may_join=True) as endpoints,
        Progress(console=Console(stderr=True)) as bar,
    ):
        task = bar.add_task("Writing", total=1.0)
        manifest = make(
            endpoints.owner_url,
            options.file,
            SystemClock().now(),
            lambda fraction: bar.update(task, completed=fraction),
            macs=macs_of_log(settings, endpoints),
            connect_timeout_s=settings.database_timeout_s,
        )
    print(f"{options.file}: {_described(manifest)}")
    return 0


def restore(options: argparse.Namespace) -> int:
    """Into an empty database; read models are made anew. Raises BackupRefused."""
    from infrastructure.backup.restore import restore as load
    from infrastructure.read_models.rebuild.rebuild import rebuild

    settings = settings_from(options)
    with open_endpoints(settings, lambda _: None) as endpoints:
        keys = _keys_for(options.file, settings)
        manifest = load(
            endpoints.owner_url,
            endpoints.service_url,
            options.file,
            _say,
            macs=None if keys is None else event_macs(keys),
            connect_timeout_s=settings.database_timeout_s,
        )
        if keys is None:
            print(f"restored {_described(manifest)}")
            print(
                "its events are from before events were authenticated: run `chatledger audit seal`,"
                " and then `chatledger projections rebuild all`"
            )
            return 0
        _say("Making the read models")
        asyncio.run(
            rebuild(
                [],
                endpoints.service_url,
                lambda _fraction: None,
                macs=event_macs(keys),
                bounds=replay_bounds(settings),
            )
        )
        print(f"restored {_described(manifest)}")
        return _verified(settings, endpoints, keys)


def _verified(settings: Settings, endpoints: Endpoints, ledger_keys: LedgerKeys) -> int:
    """Against the signed checkpoints, where this installation has the key to check them."""
    if not settings.checkpoint_key_file.exists():
        print(
            "no key of checkpoints is here; run `chatledger audit verify --public-key FILE` before"
            " the service is started"
        )
        return 0
    keys = [SigningKey.from_file(settings.checkpoint_key_file).public]
    parts = asyncio.run(verify_with(settings, endpoints, keys, ledger_keys))
    print(as_text(parts))
    if any(part.findings.count for part in parts):
        print("do not start the service on it before you know why", file=sys.stderr)
        return EXIT_DIFFERS
    return 0


def _keys_for(file: Path, settings: Settings) -> LedgerKeys | None:
    """The keys that prove the log, found before anything is loaded; None for a backup of a log from
    before events carried MACs. Raises BackupRefused, LedgerKeyError."""
    with open_archive(file) as archive:
        manifest = archive.manifest
    # A backup that an earlier version made does not say so itself.
    if manifest.needs_sealing or SEALS_TABLE not in {table.name for table in manifest.tables}:
        return None
    path = settings.ledger_key_file
    return load_ledger_keys(path) if manifest.events else make_ledger_keys(path)


def _described(manifest: Manifest) -> str:
    return (
        f"{manifest.events:,} events up to position {manifest.position}, trial balance zero,"
        f" as of {moment(manifest.made_at)} UTC"
    )


def _say(step: str) -> None:
    print(f"{step} …", file=sys.stderr)
