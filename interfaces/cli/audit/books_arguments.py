"""The arguments of `chatledger audit trial-balance`, `statement`, `balance` and `export`.

They are kept apart from the work itself, whose imports other commands do not need.
"""

import argparse
from pathlib import Path

from interfaces.cli.audit.moments import add_at, add_period

FORMATS = ("jsonl", "csv", "parquet", "beancount")
BOOKS = ("trial-balance", "statement", "balance", "export")
TABLES = ("events", "postings")


def add_books(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    trial = actions.add_parser("trial-balance", help="every account's debits and credits")
    add_at(trial)
    trial.add_argument("--accounts", action="store_true", help="each account by itself")
    _finish(trial)

    told = actions.add_parser("statement", help="one user's account, posting by posting")
    told.add_argument("user", help="username, e-mail address or id")
    add_period(told)
    _finish(told)

    balance = actions.add_parser("balance", help="what a user had at a time")
    balance.add_argument("user", help="username, e-mail address or id")
    add_at(balance)
    _finish(balance)

    export_ = actions.add_parser("export", help="the log, or a period of it, as a file")
    export_.add_argument("--format", choices=FORMATS, required=True)
    export_.add_argument("--out", type=Path, required=True, metavar="FILE")
    export_.add_argument(
        "--table",
        choices=TABLES,
        default="events",
        help="what a row is (default: events; beancount is always postings)",
    )
    export_.add_argument(
        "--with-personal",
        action="store_true",
        help="names, addresses and what people and models wrote, too",
    )
    add_period(export_)
    _finish(export_)


def _finish(action: argparse.ArgumentParser) -> None:
    action.add_argument("--json", action="store_true", help="for machines; micro-credits")
