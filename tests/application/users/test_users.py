"""Registration, sign-in and sessions."""

import asyncio

import pytest

from application.ledger.idempotency import idempotency_key
from domain.accounts.events import AccountOpened, CreditsGranted
from domain.claims.uniqueness import ValueClaimed
from domain.errors import (
    EmailTaken,
    IdempotencyKeyReused,
    InvalidEmail,
    InvalidUsername,
    UsernameTaken,
    WeakPassword,
    WrongCredentials,
)
from domain.identifiers import username_claim_id
from domain.users.events import RoleAssigned, UserRegistered, UserRole
from domain.users.state import UserState
from tests.application.world import PASSWORD, WELCOME_MICRO, World, outcome_of


async def register(
    world: World, username: str = "ada", email: str = "ada@example.com"
) -> UserState:
    await world.users.register(username=username, email=email, password=PASSWORD)
    user = await world.users.find(username)
    assert user is not None
    return user


async def test_user_claims_account_and_welcome_credits_are_one_commit(world: World) -> None:
    outcome = await world.users.register(username="ada", email="ada@example.com", password=PASSWORD)

    events = world.events()
    assert [type(event) for event in events] == [
        ValueClaimed,
        ValueClaimed,
        UserRegistered,
        AccountOpened,
        CreditsGranted,
    ]
    assert outcome.position == len(events)
    assert (await world.balance(outcome.result.user_id)).promotional_micro == WELCOME_MICRO


async def test_a_service_without_welcome_credits_opens_an_empty_account(world: World) -> None:
    stingy = world.beside(welcome_micro=0)
    user = await register(stingy)
    await stingy.close()

    assert (await world.balance(user.id)).total_micro == 0


async def test_an_administrator_is_one_from_the_same_commit_on(world: World) -> None:
    await world.users.register(
        username="root-user", email="root@example.com", password=PASSWORD, role=UserRole.ADMIN
    )

    user = await world.users.find("root-user")
    assert user is not None
    assert user.role is UserRole.ADMIN
    assert any(isinstance(event, RoleAssigned) for event in world.events())


@pytest.mark.parametrize(
    ("username", "email", "refusal"),
    [
        ("ada", "other@example.com", UsernameTaken),
        ("ADA", "other@example.com", UsernameTaken),
        ("other", "ada@example.com", EmailTaken),
        ("other", "Ada@Example.COM", EmailTaken),
    ],
)
async def test_a_name_and_an_address_belong_to_one_user_in_any_case(
    world: World, username: str, email: str, refusal: type[Exception]
) -> None:
    await register(world)

    with pytest.raises(refusal):
        await world.users.register(username=username, email=email, password=PASSWORD)


@pytest.mark.parametrize(
    ("username", "email", "password", "refusal"),
    [
        ("a", "ada@example.com", PASSWORD, InvalidUsername),
        ("ada", "ada", PASSWORD, InvalidEmail),
        ("ada", "ada@example.com", "short", WeakPassword),
        ("ada", "ada@example.com", "x" * 73, WeakPassword),
    ],
)
async def test_what_cannot_be_registered_leaves_nothing_behind(
    world: World, username: str, email: str, password: str, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        await world.users.register(username=username, email=email, password=password)

    assert world.events() == []


async def test_of_two_who_want_the_same_name_at_once_one_gets_it(world: World) -> None:
    other = world.beside()
    outcomes = await asyncio.gather(
        *(
            outcome_of(
                here.users.register(
                    username="ada", email=f"{number}@example.com", password=PASSWORD
                )
            )
            for number, here in enumerate([world, other, world, other])
        )
    )
    await other.close()

    refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert [type(error) for error in refused] == [UsernameTaken] * 3
    assert sum(isinstance(event, UserRegistered) for event in world.events()) == 1


@pytest.mark.parametrize("login", ["ada", "ADA", "ada@example.com", "ADA@example.com"])
async def test_a_user_signs_in_with_either_name(world: World, login: str) -> None:
    user = await register(world)

    signed_in = await world.users.sign_in(login=login, password=PASSWORD)

    assert (signed_in.user_id, signed_in.generation) == (user.id, 1)
    principal = await world.users.principal(user_id=user.id, session_id=signed_in.session_id)
    assert (principal.username, principal.role) == ("ada", UserRole.USER)


async def test_a_wrong_password_and_an_unknown_name_are_refused_in_the_same_words(
    world: World,
) -> None:
    await register(world)

    wrong = await outcome_of(world.users.sign_in(login="ada", password="not this one"))
    nobody = await outcome_of(world.users.sign_in(login="nobody", password="not this one"))
    strange = await outcome_of(world.users.sign_in(login="ada", password="\x00" * 100))

    assert isinstance(wrong, WrongCredentials)
    assert str(wrong) == str(nobody) == str(strange)


async def test_only_the_password_opens_a_suspended_users_refusal(world: World) -> None:
    await world.suspend((await register(world)).id)

    with pytest.raises(WrongCredentials):
        await world.users.sign_in(login="ada", password="not this one")


async def test_a_registration_is_replayed_under_its_key(world: World) -> None:
    def key(email: str) -> object:
        return idempotency_key(username_claim_id("ada"), "k", "register", email=email)

    async def register_with(email: str, password: str = PASSWORD) -> object:
        return await world.users.register(
            username="ada",
            email=email,
            password=password,
            key=key(email),  # type: ignore[arg-type]
        )

    first = await register_with("ada@example.com")
    again = await register_with("ada@example.com")

    assert (again.result, again.replayed) == (first.result, True)  # type: ignore[attr-defined]
    with pytest.raises(IdempotencyKeyReused):
        await register_with("other@example.com")
    with pytest.raises(IdempotencyKeyReused):
        await register_with("ada@example.com", "another passphrase")
    user = await world.users.find("ada")
    assert user is not None
    await world.users.set_password(user, "a later passphrase")
    assert (await register_with("ada@example.com")).replayed  # type: ignore[attr-defined]
    with pytest.raises(IdempotencyKeyReused):
        await register_with("ada@example.com", "a later passphrase")
    assert sum(isinstance(event, UserRegistered) for event in world.events()) == 1


async def test_the_same_registration_sent_twice_at_once_is_one_whatever_comes_first(
    world: World,
) -> None:
    other = world.beside()
    key = idempotency_key(username_claim_id("ada"), "k", "register")

    outcomes = await asyncio.gather(
        *(
            outcome_of(
                here.users.register(
                    username="ada", email="ada@example.com", password=password, key=key
                )
            )
            for here in (world, other)
            for password in (PASSWORD, PASSWORD, "another passphrase")
        )
    )
    await other.close()

    stored = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
    assert len({outcome.result.user_id for outcome in stored}) == 1
    assert sum(not outcome.replayed for outcome in stored) == 1
    refused = [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)]
    assert set(refused) == {IdempotencyKeyReused}
    assert len(stored) in (2, 4), "those with one password, and none with the other"
