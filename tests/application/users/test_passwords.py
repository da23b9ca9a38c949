"""A new password, what ends with the old one, and which passwords are none."""

import pytest

from application.ledger.ledger import Transaction
from application.ledger.streams import USER
from application.ports import OPERATOR
from domain.errors import SessionEnded, WeakPassword, WrongCredentials
from domain.users.commands import ChangePassword
from domain.users.decider import decide
from tests.application.users.test_users import register
from tests.application.world import PASSWORD, World


async def test_a_new_password_replaces_the_old_one(world: World) -> None:
    user = await register(world)

    await world.users.set_password(user, "another password")

    with pytest.raises(WrongCredentials):
        await world.users.sign_in(login="ada", password=PASSWORD)
    await world.users.sign_in(login="ada", password="another password")


async def test_a_new_password_ends_the_sessions_from_before_it_and_no_others(
    world: World,
) -> None:
    user = await register(world)
    before = await world.users.sign_in(login="ada", password=PASSWORD)
    world.clock.advance(seconds=1)
    await world.users.set_password(user, "another password")
    world.clock.advance(seconds=1)
    after = await world.users.sign_in(login="ada", password="another password")

    with pytest.raises(SessionEnded, match="password was changed"):
        await world.users.principal(user_id=user.id, session_id=before.session_id)
    with pytest.raises(SessionEnded, match="password was changed"):
        await world.users.refresh(session_id=before.session_id, generation=1)
    assert await world.users.principal(user_id=user.id, session_id=after.session_id)
    assert await world.users.refresh(session_id=after.session_id, generation=1)


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "12345678",
        "        ",
        "\u3000" * 8,
        "Password1!",
        "Passw0rd!",
        "p@ssw0rd123",
        "ｐａｓｓｗｏｒｄ",
        "qwertyuiop",
        "Summer2026!",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "password" * 9,
        "1234567890" * 7,
        "abcdefghijklmnopqrstuvwxyz",
        "ada.lovelace.the.first.programmer",
        "Ada.Lovelace.The.First.Programmer1",
        "ecalevol.ada",
        "countess@analytical.example",
        "countess@analytical",
        "chatledger1",
        "Chatledger2026!",
        "my chatledger",
    ],
)
async def test_a_password_that_is_easily_guessed_is_refused_and_told_how_to_be_better(
    world: World, password: str
) -> None:
    with pytest.raises(WeakPassword, match="easily guessed; choose a longer one of several words"):
        await world.users.register(
            username="ada.lovelace.the.first.programmer"[:32],
            email="countess@analytical.example",
            password=password,
        )

    assert world.events() == []


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "analytical engine",
        "пароль из слов",
        "Zk7#mQ2p",
        "a" * 30 + " 7#mQ2p zebra",
    ],
)
async def test_several_words_or_a_few_random_characters_are_a_password(
    world: World, password: str
) -> None:
    await world.users.register(username="ada", email="ada@example.com", password=password)

    assert await world.users.sign_in(login="ada", password=password)


async def test_a_new_password_is_held_to_the_same_rules(world: World) -> None:
    user = await register(world)

    for password in ("password1", "ada@example.com", "correct horse\r"):
        with pytest.raises(WeakPassword):
            await world.users.set_password(user, password)
    await world.users.sign_in(login="ada", password=PASSWORD)


@pytest.mark.parametrize("chosen", ["café au lait, merci", "cafe\u0301 au lait, merci"])
async def test_a_password_signs_in_however_the_keyboard_writes_its_accents(
    world: World, chosen: str
) -> None:
    await world.users.register(username="ada", email="ada@example.com", password=chosen)

    for typed in ("café au lait, merci", "cafe\u0301 au lait, merci"):
        assert await world.users.sign_in(login="ada", password=typed)


async def test_a_hash_from_before_there_was_one_spelling_is_still_opened(world: World) -> None:
    user = await register(world)
    typed = "cafe\u0301 au lait, merci"
    old_hash = await world.hasher.hash(typed, OPERATOR)

    def work(transaction: Transaction) -> None:
        state = transaction.load(USER, user.id)
        change = ChangePassword(password_hash=old_hash)
        transaction.add(USER, *decide(change, state, world.clock.now()))

    await world.ledger.transact(work)

    assert await world.users.sign_in(login="ada", password=typed)
