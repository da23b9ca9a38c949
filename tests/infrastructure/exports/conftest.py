from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from application.books.posted import ALL_TIME, Period
from application.books.trial_balance import TrialBalance
from domain.events import Event
from infrastructure.embedded.servers import EmbeddedServers
from infrastructure.log.scan import LogScan, open_scan
from tests.projections.log import open_log
from tests.projections.random_history import RandomHistory
from tests.support.keys import EVENT_MACS
from tests.support.servers import DatabaseUrls, drop_database, fresh_database, fresh_name


@dataclass
class Stored:
    """A log in a database, and what was put into it."""

    service_url: str
    events: list[tuple[int, Event]]

    def trial_balance(self, period: Period = ALL_TIME) -> TrialBalance:
        books = TrialBalance(period)
        for position, event in self.events:
            books.add(position, event)
        return books


@pytest.fixture(scope="package")
def stored(embedded_servers: EmbeddedServers) -> Iterator[Stored]:
    name = fresh_name("export")
    urls = fresh_database(embedded_servers, name)
    with open_log(urls) as log:
        log.append(RandomHistory(41).commits(400))
        yield Stored(urls.service, log.events)
    drop_database(embedded_servers, name)


@pytest.fixture
def scan(stored: Stored) -> Iterator[LogScan]:
    with open_scan(stored.service_url, lambda: EVENT_MACS) as opened:
        yield opened


@pytest.fixture
def event_log_of_two(database: DatabaseUrls) -> tuple[DatabaseUrls, list[int]]:
    """A small log of its own, and its positions."""
    with open_log(database) as log:
        log.append(RandomHistory(42).commits(2))
        return database, [position for position, _ in log.events]
