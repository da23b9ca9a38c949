"""A random life of several users, decided by the real deciders: every kind of event that a
projection handles, in commits like the service's."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from domain.accounts import commands as a
from domain.accounts.events import CreditsDebited, Direction
from domain.conversations import commands as c
from domain.conversations.state import Exchange
from domain.errors import Refusal
from domain.events import Event
from domain.identifiers import account_id
from domain.pricing.price import Price, per_message, per_token
from domain.users import commands as u
from domain.users.events import UserRole
from tests.projections.people import Person

START = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)
CREDIT = 1_000_000
ADMIN = UUID(int=7)
PRICES: dict[str, Price] = {
    "gemma3-270m": per_message(2 * CREDIT),
    "gemma3-1b": per_token(prompt_micro_per_1000=1_234_567, completion_micro_per_1000=7_654_321),
    "free": per_message(0),
}


class RandomHistory:
    """commits(n) goes on where the last call stopped. One seed always gives one history."""

    def __init__(self, seed: int, *, people: int = 3) -> None:
        self._random = random.Random(seed)
        self.now = START
        self.people = [Person(self._id()) for _ in range(people)]
        self._unregistered = list(self.people)

    def commits(self, count: int) -> Iterator[tuple[Event, ...]]:
        steps: list[tuple[int, Callable[[Person], tuple[Event, ...]]]] = [
            (30, self._ask),
            (24, self._answer),
            (5, self._fail),
            (6, self._buy),
            (5, self._grant),
            (4, self._adjust),
            (4, self._refund),
            (2, self._expire_grants),
            (2, self._freeze),
            (3, self._rename),
            (4, self._delete),
            (2, self._administer),
        ]
        weights, choices = zip(*steps, strict=True)
        made = 0
        while made < count:
            self.now += timedelta(seconds=self._random.randrange(4000))
            if self._unregistered and (self._random.random() < 0.2 or made == 0):
                events: tuple[Event, ...] = self._register(self._unregistered.pop())
            else:
                events = self._try(self._random.choices(choices, weights)[0])
            if events:
                made += 1
                yield events

    def _try(self, step: Callable[[Person], tuple[Event, ...]]) -> tuple[Event, ...]:
        """All of a step or, when any part of it is refused, nothing."""
        registered = [i for i, person in enumerate(self.people) if person.user is not None]
        index = self._random.choice(registered)
        draft = self.people[index].draft()
        try:
            events = step(draft)
        except Refusal:
            return ()
        self.people[index] = draft
        return events

    def _register(self, person: Person) -> tuple[Event, ...]:
        name = f"user{person.user_id.hex[:8]}"
        registered = person.for_user(
            self.now,
            u.RegisterUser(
                user_id=person.user_id,
                username=name,
                email=f"{name}@example.com",
                password_hash="$2b$04$hash",
            ),
        )
        opened = person.for_account(
            self.now, a.OpenAccount(account_id=account_id(person.user_id), user_id=person.user_id)
        )
        return (*registered, *opened, *self._give(person, "welcome", expires=False))

    def _ask(self, person: Person) -> tuple[Event, ...]:
        model = self._random.choice(list(PRICES))
        response_id, hold_id = self._id(), self._id()
        if person.conversations and self._random.random() < 0.7:
            conversation_id = self._random.choice(list(person.conversations))
        else:
            conversation_id = self._id()
        price = PRICES[model]
        held = person.for_account(
            self.now,
            a.HoldCredits(
                hold_id=hold_id,
                amount_micro=price.cost_micro(prompt_tokens=100, completion_tokens=200),
                expires_at=self.now + timedelta(minutes=10),
                message_id=response_id,
                conversation_id=conversation_id,
            ),
        )
        prompt = c.SubmitPrompt(
            conversation_id=conversation_id,
            user_id=person.user_id,
            prompt_id=self._id(),
            response_id=response_id,
            hold_id=hold_id,
            idempotency_claim_id=None,
            text=self._random.choice(["50% off_", "Why?", "Grüße, 世界 😀", "back\\slash"]),
            model=model,
            max_tokens=200,
            temperature=0.0,
            top_p=1.0,
            seed=None,
        )
        return (*held, *person.for_conversation(self.now, conversation_id, prompt))

    def _answer(self, person: Person) -> tuple[Event, ...]:
        conversation_id, exchange = self._open_exchange(person)
        assert person.account is not None
        hold = person.account.hold(exchange.hold_id)
        assert hold is not None
        model = next(
            name
            for name, price in PRICES.items()
            if price.cost_micro(prompt_tokens=100, completion_tokens=200) == hold.amount_micro
        )
        tokens = self._random.randrange(1, 201)
        cost = PRICES[model].cost_micro(prompt_tokens=100, completion_tokens=tokens)
        debited = person.for_account(
            self.now,
            a.CaptureHold(
                hold_id=exchange.hold_id,
                amount_micro=cost,
                model=model,
                price=PRICES[model],
                prompt_tokens=100,
                completion_tokens=tokens,
            ),
        )
        person.debits += [
            event for event in debited if isinstance(event, CreditsDebited) and event.amount_micro
        ]
        response = c.RecordResponse(
            user_id=person.user_id,
            response_id=exchange.response_id,
            text=self._random.choice(["Because.", "NUL \x00 written by a model", "a_b"]),
            model=model,
            manifest_hash="ab" * 32,
            computed_on="CPU",
            finish_reason="stop",
            prompt_tokens=100,
            completion_tokens=tokens,
            turns_dropped=0,
            seed=None,
            price=PRICES[model],
            cost_micro=cost,
            cached=False,
            latency_ms=self._random.randrange(5000),
        )
        return (*debited, *person.for_conversation(self.now, conversation_id, response))

    def _fail(self, person: Person) -> tuple[Event, ...]:
        conversation_id, exchange = self._open_exchange(person)
        released = person.for_account(
            self.now, a.ReleaseHold(hold_id=exchange.hold_id, reason="failed")
        )
        failure = c.RecordFailure(
            user_id=person.user_id, response_id=exchange.response_id, reason="failed"
        )
        return (*released, *person.for_conversation(self.now, conversation_id, failure))

    def _buy(self, person: Person) -> tuple[Event, ...]:
        return person.for_account(
            self.now,
            a.PurchaseCredits(
                purchase_id=self._id(),
                amount_micro=self._random.randrange(1, 50 * CREDIT),
                bonus_id=self._id(),
                bonus_micro=self._random.choice([0, 3 * CREDIT]),
                package_id=self._random.choice([None, "starter"]),
                development=True,
            ),
        )

    def _grant(self, person: Person) -> tuple[Event, ...]:
        return self._give(person, "for a good idea", expires=True)

    def _give(self, person: Person, reason: str, *, expires: bool) -> tuple[Event, ...]:
        ends = self.now + timedelta(hours=self._random.randrange(1, 72))
        return person.for_account(
            self.now,
            a.GrantCredits(
                grant_id=self._id(),
                amount_micro=self._random.randrange(1, 20 * CREDIT),
                expires_at=ends if expires else None,
                reason=reason,
                granted_by=None,
            ),
        )

    def _adjust(self, person: Person) -> tuple[Event, ...]:
        return person.for_account(
            self.now,
            a.AdjustCredits(
                adjustment_id=self._id(),
                direction=self._random.choice(list(Direction)),
                amount_micro=self._random.randrange(1, 3 * CREDIT),
                reason="counted twice",
                adjusted_by=ADMIN,
            ),
        )

    def _refund(self, person: Person) -> tuple[Event, ...]:
        if not person.debits:
            return ()
        debit = person.debits.pop(self._random.randrange(len(person.debits)))
        return person.refund(
            self.now,
            a.RefundDebit(
                refund_id=self._id(),
                debit=debit,
                amount_micro=self._random.choice([debit.amount_micro, debit.amount_micro // 2]),
                reason="it made no sense",
                refunded_by=ADMIN,
            ),
        )

    def _expire_grants(self, person: Person) -> tuple[Event, ...]:
        return person.for_account(self.now, a.ExpireGrants())

    def _freeze(self, person: Person) -> tuple[Event, ...]:
        if self._random.random() < 0.4:
            return person.for_account(self.now, a.FreezeAccount(reason="a check", frozen_by=ADMIN))
        return person.for_account(self.now, a.UnfreezeAccount(unfrozen_by=ADMIN))

    def _rename(self, person: Person) -> tuple[Event, ...]:
        conversation_id = self._a_conversation(person)
        rename = c.RenameConversation(
            user_id=person.user_id, title=f"Talk {self._random.randrange(99)}"
        )
        return person.for_conversation(self.now, conversation_id, rename)

    def _delete(self, person: Person) -> tuple[Event, ...]:
        delete = c.DeleteConversation(user_id=person.user_id)
        return person.for_conversation(self.now, self._a_conversation(person), delete)

    def _administer(self, person: Person) -> tuple[Event, ...]:
        commands: list[u.UserCommand] = [
            u.AssignRole(role=self._random.choice(list(UserRole)), assigned_by=ADMIN),
            u.SuspendUser(reason="a check", suspended_by=ADMIN),
            u.ReinstateUser(reinstated_by=ADMIN),
        ]
        command = self._random.choice(commands)
        return person.for_user(self.now, command)

    def _open_exchange(self, person: Person) -> tuple[UUID, Exchange]:
        under_way = [
            (conversation_id, exchange)
            for conversation_id, state in person.conversations.items()
            for exchange in state.open
        ]
        if not under_way:
            raise Refusal("nothing is under way")
        return self._random.choice(under_way)

    def _a_conversation(self, person: Person) -> UUID:
        if not person.conversations:
            raise Refusal("nobody has written yet")
        return self._random.choice(list(person.conversations))

    def _id(self) -> UUID:
        return UUID(int=self._random.getrandbits(128), version=4)
