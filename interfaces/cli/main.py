"""`chatledger`: the command line."""

import argparse
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from interfaces.cli.audit.command import add_audit
from interfaces.cli.keys import add_keys, keys
from interfaces.cli.refusals import explain

EXIT_REFUSED = 1


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="chatledger",
        description="A chat service with prepaid credits whose every credit can be explained.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_start(commands)

    models = commands.add_parser("models", help="list and prepare language models")
    actions = models.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="the catalogue and what is prepared")
    prepare = actions.add_parser("prepare", help="convert a model's weights for this service")
    export = actions.add_parser("export", help="the same through another exporter, for comparison")
    export.add_argument(
        "--via", choices=("optimum",), required=True, help="in an environment that it makes"
    )
    for action in (prepare, export):
        action.add_argument(
            "name", metavar="NAME|FOLDER", help="a model of the catalogue, or a folder of weights"
        )
        action.add_argument(
            "--from",
            dest="source",
            metavar="FOLDER",
            help="its weights: config.json, tokenizer.json and safetensors, as hubs give them",
        )
    prepare.add_argument(
        "--precision",
        choices=("int8", "int4", "fp32", "fp16", "bf16"),
        help="of the weights (default: int8, or bf16 for CUDA); fp16 and bf16 are for CUDA, fp32"
        " is for the CPU",
    )
    prepare.add_argument(
        "--provider",
        choices=("cpu", "cuda"),
        help="what the model will run on (default: the CPU where it runs the precision)",
    )
    _add_data_dir(models)

    projections = commands.add_parser("projections", help="the read models")
    actions = projections.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("status", help="how far each read model is")
    rebuild = actions.add_parser("rebuild", help="make a read model anew from the log")
    rebuild.add_argument("name", help="a projection's name, or all")
    _add_data_dir(projections)

    users = commands.add_parser("users", help="users, for the operator")
    actions = users.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create-admin", help="a new administrator")
    create.add_argument("username")
    create.add_argument("email")
    change = actions.add_parser("set-password", help="a new password for a user")
    change.add_argument("username")
    _add_data_dir(users)

    _add_data_dir(add_audit(commands))
    _add_data_dir(add_keys(commands))

    for name, text in (
        ("backup", "the log and what proves it, as one file, while the service goes on"),
        ("restore", "a backup into an empty database, compared before it is committed"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("file", type=Path, metavar="FILE")
        _add_data_dir(command)
    return top


def _add_start(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    start = commands.add_parser("start", help="run the service")
    start.add_argument("--mode", choices=("all", "api", "ui"), default="all")
    start.add_argument("--host", help="address to bind (setting HOST)")
    start.add_argument("--port", type=int, help="port of the API (setting PORT)")
    start.add_argument("--ui-port", type=int, help="port of the chat page (setting UI_PORT)")
    start.add_argument("--api-url", help="the API that the chat page talks to (setting API_URL)")
    start.add_argument(
        "--skip-init", action="store_true", help="do not prepare the model; it stays unavailable"
    )
    _add_data_dir(start)


def _add_data_dir(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data-dir", help="folder of all data (setting DATA_DIR)")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 1 after one sentence on standard error that says what to do."""
    options = parser().parse_args(arguments)
    _log_to_standard_error()
    try:
        status = _command(options)(options)
    except KeyboardInterrupt:
        status = 0
    except Exception as error:  # noqa: BLE001 - explain() raises what it does not know
        print(f"chatledger: {explain(error)}", file=sys.stderr)
        status = EXIT_REFUSED
    if options.command == "start":
        _leave_native_code(status)
    return status


def _log_to_standard_error() -> None:
    """Warnings and errors alone: only `start` runs long enough to report more."""
    from infrastructure.process.logs import configure_logs

    configure_logs(level="WARNING", as_json=False)


def _leave_native_code(status: int) -> None:
    """A model that is being loaded cannot be interrupted, and its thread would bring the
    interpreter down with SIGABRT while that ends; everything else is closed by now."""
    from infrastructure.inference.answers.threads import NATIVE

    if any(thread.name in NATIVE for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _command(options: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    # Imported here, because each brings what the others do not need.
    match options.command:
        case "start":
            from interfaces.cli.start.command import start

            return start
        case "models":
            from interfaces.cli.models import models

            return models
        case "projections":
            from interfaces.cli.projections import projections

            return projections
        case "audit":
            from interfaces.cli.audit.command import audit

            return audit
        case "keys":
            return keys
        case "backup":
            from interfaces.cli.backup import backup

            return backup
        case "restore":
            from interfaces.cli.backup import restore

            return restore
        case _:
            from interfaces.cli.users import users

            return users


if __name__ == "__main__":
    sys.exit(main())
