"""The users and rows that the tests of queries ask about."""

from dataclasses import dataclass

from infrastructure.log.reader import ReadBounds
from infrastructure.read_models.query_pool import ReadPoolLimits
from tests.projections.naive_tables import NaiveRow
from tests.projections.people import Person
from tests.projections.random_history import RandomHistory

LIMITS = ReadPoolLimits(connections_max=2, connection_timeout_s=2)
EVERYTHING = ReadBounds(events_max=100_000, bytes_max=2**30)


@dataclass(frozen=True)
class Told:
    """The projected life of three users; tests only read it. tables: the rows that it must have."""

    service_url: str
    history: RandomHistory
    tables: dict[str, list[NaiveRow]]

    @property
    def people(self) -> list[Person]:
        return self.history.people

    def rows(self, table: str, person: Person) -> list[NaiveRow]:
        return [row for row in self.tables[table] if row["user_id"] == person.user_id]
