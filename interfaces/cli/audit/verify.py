"""`chatledger audit verify`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

import msgspec

from application.ledger.keys import LedgerKeys
from infrastructure.proofs.checkpoints.signing_key import KeyUnusable, PublicKey, SigningKey
from infrastructure.proofs.verify.report import PartReport
from infrastructure.settings.service import Settings
from interfaces.cli.options import settings_from
from interfaces.cli.refusals import explain
from interfaces.composition.endpoints import Endpoints, migrate_schema, open_endpoints
from interfaces.composition.ledger_keys import keys_of_file
from interfaces.composition.proofs import checkpoint_settings, replay_bounds
from interfaces.exact_json import write_json

EXIT_DIFFERS = 1
EXIT_CANNOT_RUN = 2


def verify(options: argparse.Namespace) -> int:
    """0 when everything agrees, 1 when something differs, 2 when it cannot be told.

    Beside a running service too; without one, the embedded servers are started for this command
    alone.
    """
    try:
        settings = settings_from(options)
        with open_endpoints(settings, lambda _: None, may_join=True) as endpoints:
            migrate_schema(settings, endpoints, for_audit=True)
            ledger_keys = keys_of_file(settings, endpoints)
            public_keys = checkpoint_keys(options, settings)
            parts = asyncio.run(verify_with(settings, endpoints, public_keys, ledger_keys))
    except Exception as error:  # noqa: BLE001 - explain() raises what it does not know
        print(f"chatledger: {explain(error)}", file=sys.stderr)
        return EXIT_CANNOT_RUN
    print(as_json(parts) if options.json else as_text(parts))
    return EXIT_DIFFERS if any(part.findings.count for part in parts) else 0


def checkpoint_keys(options: argparse.Namespace, settings: Settings) -> list[PublicKey]:
    if options.public_key:
        return [PublicKey.load(path) for path in options.public_key]
    if not settings.checkpoint_key_file.exists():
        raise KeyUnusable(
            f"there is no key in {settings.checkpoint_key_file}; give --public-key, the file that"
            " `chatledger audit public-key` wrote where the checkpoints are signed"
        )
    return [SigningKey.from_file(settings.checkpoint_key_file).public]


async def verify_with(
    settings: Settings,
    endpoints: Endpoints,
    keys: Sequence[PublicKey],
    ledger_keys: LedgerKeys | None,
) -> list[PartReport]:
    """As `verification.verify`, with progress on standard error."""
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from infrastructure.proofs.verify.verification import verify as verify_all

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def on_progress(part: str, done: float) -> None:
            if part not in tasks:
                tasks[part] = bar.add_task(f"Verifying the {part}", total=1.0)
            bar.update(tasks[part], completed=done)

        return await verify_all(
            endpoints.service_url,
            endpoints.nats_read_url or endpoints.nats_url,
            checkpoint_settings(settings),
            keys,
            ledger_keys,
            on_progress=on_progress,
            bounds=replay_bounds(settings),
        )


def as_text(parts: Sequence[PartReport]) -> str:
    lines: list[str] = []
    for part in parts:
        found = part.findings
        verdict = "agrees" if not found.count else f"{found.count} differences"
        if not part.looked_at:
            verdict = "not looked at"
        lines.append(
            f"{part.name:22} {verdict:16} {part.checked:,} {part.what}, {part.seconds:.1f} s"
        )
        lines += [f"  {difference.text}" for difference in found.differences]
        if found.count > len(found.differences):
            lines.append(f"  and {found.count - len(found.differences)} more")
        lines += [f"  note: {note}" for note in part.notes]
    differing = [part for part in parts if part.findings.count]
    if differing:
        lines.append(f"The first that differs: {differing[0].findings.differences[0].text}.")
    elif not all(part.looked_at for part in parts):
        lines.append("Everything that was looked at agrees.")
    else:
        lines.append("Everything agrees.")
    return "\n".join(lines)


def as_json(parts: Sequence[PartReport]) -> str:
    differing = [part for part in parts if part.findings.count]
    report = {
        "agrees": not differing,
        "first": differing[0].findings.differences[0] if differing else None,
        "parts": parts,
    }
    return msgspec.json.format(write_json(report)).decode()
