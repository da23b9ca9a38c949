"""`chatledger keys list|rotate`: the keys that events, snapshots and messages are authenticated
with."""

import argparse

from infrastructure.secrets.ledger_key_file import load_ledger_keys, rotate_ledger_keys
from interfaces.cli.options import settings_from


def keys(options: argparse.Namespace) -> int:
    """Raises LedgerKeyError, OSError."""
    settings = settings_from(options)
    path = settings.ledger_key_file
    if options.action == "rotate":
        key_id = rotate_ledger_keys(path)
        print(
            f"{path} has the new key {key_id}, beside the old ones, which go on proving what was"
            " made under them. Copy the file to wherever the service runs, keep a copy apart from"
            " the database, and then restart the service: it writes under the new key from then on"
        )
        return 0
    known = load_ledger_keys(path)
    for key_id in known.secrets:
        print(f"{key_id}  current" if key_id == known.current_id else key_id)
    return 0


def add_keys(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    group = commands.add_parser("keys", help="the keys that authenticate what is stored")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="their ids; the keys themselves are never shown")
    actions.add_parser("rotate", help="a new key, for what is written from the next start on")
    return group
