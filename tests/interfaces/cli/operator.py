"""An operator at the books of a database of a test's own."""

import io
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from domain.events import Event
from interfaces.cli.books import books
from interfaces.cli.main import parser
from tests.interfaces.cli.command import Finished, chatledger
from tests.support.servers import DatabaseUrls


class Operator:
    def __init__(self, urls: DatabaseUrls, nats_url: str, folder: Path) -> None:
        self._urls = urls
        self._nats_url = nats_url
        self.folder = folder
        self.log: list[tuple[int, Event]] = []

    def run(self, *arguments: str, stdin: str = "") -> Finished:
        return chatledger(
            *arguments,
            folder=self.folder,
            stdin=stdin,
            DATABASE_URL=self._urls.service,
            MIGRATION_DATABASE_URL=self._urls.owner,
            NATS_URL=self._nats_url,
        )

    def audit(self, *arguments: str) -> str:
        """What it prints; in this process, as starting one takes a second."""
        printed = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
            patch.setenv("ENVIRONMENT", "test")
            patch.setenv("DATABASE_URL", self._urls.service)
            patch.setenv("NATS_URL", self._nats_url)
            assert books(parser().parse_args(["audit", *arguments])) == 0
        return printed.getvalue()
