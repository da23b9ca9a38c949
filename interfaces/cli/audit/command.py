"""`chatledger audit …`: the commands of an auditor, and where each is carried out."""

import argparse
from pathlib import Path

from interfaces.cli.audit.books_arguments import BOOKS, add_books


def add_audit(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    group = commands.add_parser("audit", help="prove what the ledger says")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    verify = actions.add_parser(
        "verify",
        help="check the MACs, the chain, the checkpoints, every stream, snapshot and read model",
    )
    verify.add_argument("--json", action="store_true", help="the report as JSON")
    sealing = actions.add_parser(
        "seal", help="once for a log of an earlier version: verify it, and authenticate its events"
    )
    for action in (verify, sealing):
        action.add_argument(
            "--public-key",
            type=Path,
            metavar="FILE",
            action="append",
            help="of the checkpoints; may be given more than once (default: of this"
            " installation's signing key)",
        )
    receipt = actions.add_parser("verify-receipt", help="check a receipt without the ledger")
    receipt.add_argument("receipt", type=Path, metavar="FILE", help="as the API answered it")
    receipt.add_argument("--public-key", type=Path, metavar="FILE", required=True)
    actions.add_parser("public-key", help="the key that checks this ledger's checkpoints")
    add_books(actions)
    return group


def audit(options: argparse.Namespace) -> int:
    """The action's own exit status."""
    # Imported here, because each brings what the others do not need.
    match options.action:
        case "verify":
            from interfaces.cli.audit.verify import verify

            return verify(options)
        case "seal":
            from interfaces.cli.audit.seal import seal_log

            return seal_log(options)
        case "verify-receipt":
            from interfaces.cli.audit.receipt import verify_receipt

            return verify_receipt(options)
        case action if action in BOOKS:
            from interfaces.cli.audit.books import books

            return books(options)
        case _:
            return _public_key(options)


def _public_key(options: argparse.Namespace) -> int:
    """Makes the signing key where there is none yet, so that the public key can be handed out
    before the service starts for the first time."""
    from infrastructure.proofs.checkpoints.signing_key import SigningKey
    from interfaces.cli.options import settings_from

    settings = settings_from(options)
    print(SigningKey.from_file(settings.checkpoint_key_file).public.pem, end="")
    return 0
