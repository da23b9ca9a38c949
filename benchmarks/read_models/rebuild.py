"""How fast all read models are rebuilt, and the log is verified: events per second, and memory.

`python -m benchmarks.read_models.rebuild` fills a database of its own. To compare two versions,
`--keep` leaves the database running, and each version measures it with `--database URL`.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg

from application.ledger.mapping import EventMapper
from benchmarks.keys import LEDGER_KEYS
from benchmarks.read_models.replay_cost import floors, measure_round
from domain.accounts import commands as a
from domain.accounts.decider import decide as decide_account
from domain.accounts.state import AccountState
from domain.accounts.state import evolve as evolve_account
from domain.conversations import commands as c
from domain.conversations.decider import decide as decide_conversation
from domain.conversations.state import ConversationState
from domain.conversations.state import evolve as evolve_conversation
from domain.events import Event
from domain.identifiers import account_id
from domain.pricing.price import per_message
from domain.users.commands import RegisterUser
from domain.users.decider import decide as decide_user
from infrastructure.database.migrate import migrate
from infrastructure.embedded.servers import EmbeddedServers, EmbeddedSettings

_START = datetime(2026, 1, 1, tzinfo=UTC)
_PRICE = per_message(2_000_000)
_ANSWER = "A credit is held before the first token and captured with the last one. " * 3
_MESSAGES_A_CONVERSATION = 8
_ROWS_A_STATEMENT = 2000


class _Life:
    """Users who ask and are answered, one message after the other."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._now = _START

    def events(self, count: int) -> Iterator[Event]:
        users: list[UUID] = []
        accounts: dict[UUID, AccountState | None] = {}
        open_: dict[UUID, tuple[UUID, ConversationState | None]] = {}
        made = 0
        while made < count:
            self._now += timedelta(milliseconds=40)
            if len(users) < max(10, made // 200):
                user = self._id()
                users.append(user)
                accounts[user] = None
                batch = self._registered(user, accounts)
            else:
                user = self._random.choice(users)
                batch = self._message(user, accounts, open_)
            for event in batch:
                made += 1
                yield event

    def _registered(self, user: UUID, accounts: dict[UUID, AccountState | None]) -> list[Event]:
        name = f"user{user.hex}"[:20]
        register = RegisterUser(
            user_id=user, username=name, email=f"{name}@example.com", password_hash="x"
        )
        opened = a.OpenAccount(account_id=account_id(user), user_id=user)
        bought = a.PurchaseCredits(
            purchase_id=self._id(),
            amount_micro=10**12,
            bonus_id=self._id(),
            bonus_micro=0,
            package_id=None,
            development=True,
        )
        events: list[Event] = [*decide_user(register, None, self._now)]
        for command in (opened, bought):
            events += self._account(user, accounts, command)
        return events

    def _message(
        self,
        user: UUID,
        accounts: dict[UUID, AccountState | None],
        open_: dict[UUID, tuple[UUID, ConversationState | None]],
    ) -> list[Event]:
        conversation, talk = open_.get(user, (self._id(), None))
        if talk is not None and self._random.random() < 1 / _MESSAGES_A_CONVERSATION:
            conversation, talk = self._id(), None
        hold, message = self._id(), self._id()
        ends = self._now + timedelta(minutes=10)
        held = a.HoldCredits(
            hold_id=hold,
            amount_micro=2_000_000,
            expires_at=ends,
            message_id=message,
            conversation_id=conversation,
        )
        prompt = c.SubmitPrompt(
            conversation_id=conversation,
            user_id=user,
            prompt_id=self._id(),
            response_id=message,
            hold_id=hold,
            idempotency_claim_id=None,
            text="What is a hold, and who captures it?",
            model="gemma3-270m",
            max_tokens=200,
            temperature=0.7,
            top_p=1.0,
            seed=7,
        )
        captured = a.CaptureHold(
            hold_id=hold,
            amount_micro=2_000_000,
            model="gemma3-270m",
            price=_PRICE,
            prompt_tokens=40,
            completion_tokens=60,
        )
        answered = c.RecordResponse(
            user_id=user,
            response_id=message,
            text=_ANSWER,
            model="gemma3-270m",
            manifest_hash="ab" * 32,
            computed_on=None,
            finish_reason="stop",
            prompt_tokens=40,
            completion_tokens=60,
            turns_dropped=0,
            seed=7,
            price=_PRICE,
            cost_micro=2_000_000,
            cached=False,
            latency_ms=800,
        )
        events: list[Event] = self._account(user, accounts, held)
        for asked in (prompt, answered):
            if asked is answered:
                events += self._account(user, accounts, captured)
            for event in decide_conversation(asked, talk, self._now):
                talk = evolve_conversation(talk, event)
                events.append(event)
        open_[user] = (conversation, talk)
        return events

    def _account(
        self,
        user: UUID,
        accounts: dict[UUID, AccountState | None],
        command: a.AccountCommand,
    ) -> list[Event]:
        events = decide_account(command, accounts[user], self._now)
        for event in events:
            accounts[user] = evolve_account(accounts[user], event)
        return list(events)

    def _id(self) -> UUID:
        """Ordered by time, as the service's ids are (RFC 9562, version 7)."""
        ms = int(self._now.timestamp() * 1000)
        return UUID(
            int=(ms << 80) | (7 << 76) | (2 << 62) | (self._random.getrandbits(74) & ~(3 << 62))
        )


def fill(owner_url: str, events: int) -> None:
    mapper = EventMapper(LEDGER_KEYS)
    life = _Life(1).events(events)
    with psycopg.connect(owner_url, autocommit=True) as connection:
        done = False
        while not done:
            with (
                connection.cursor() as cursor,
                cursor.copy(
                    "COPY ledger.ledger_events (originator_id, originator_version, topic, state)"
                    " FROM STDIN (FORMAT binary)"
                ) as copy,
            ):
                copy.set_types(["uuid", "int8", "text", "bytea"])
                done = True
                for number, event in enumerate(life, start=1):
                    stored = mapper.to_stored_event(event)
                    copy.write_row(
                        (
                            stored.originator_id,
                            stored.originator_version,
                            stored.topic,
                            stored.state,
                        )
                    )
                    if number == _ROWS_A_STATEMENT:
                        done = False
                        break
        connection.execute("VACUUM ANALYZE ledger.ledger_events")


def measure(service_url: str, rounds: int, processes: int) -> None:
    rates: dict[str, list[int]] = {}
    for _ in range(rounds):
        for cost in measure_round(service_url, processes):
            rates.setdefault(cost.what, []).append(round(cost.events / cost.seconds))
    print(json.dumps({"processes": processes, "events_per_s": rates}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--floors", action="store_true", help="each step of folding alone, first; costs memory"
    )
    parser.add_argument("--database", help="the service's URL of a database that is filled")
    parser.add_argument("--keep", action="store_true", help="say the URL and wait for Enter")
    options = parser.parse_args()
    if options.database:
        if options.floors:
            floors(options.database)
        measure(options.database, options.rounds, options.processes)
        return
    folder = Path(tempfile.mkdtemp(prefix="chatledger-rebuild-"))
    folder.chmod(0o755)
    try:
        with EmbeddedServers.start(
            EmbeddedSettings(data_dir=folder), lambda _text: None
        ) as servers:
            urls = (servers.owner_database_url, servers.service_database_url)
            migrate(*urls)
            fill(urls[0], options.events)
            if options.keep:
                print(urls[1], urls[0], servers.superuser_url, flush=True)
                sys.stdin.readline()
            else:
                if options.floors:
                    floors(urls[1])
                measure(urls[1], options.rounds, options.processes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
