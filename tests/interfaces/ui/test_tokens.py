"""Access tokens are renewed quietly, and a refresh token is never sent twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from interfaces.ui.client.api import Api, http_client
from interfaces.ui.client.errors import ApiProblem, ApiUnreachable, SignedOut
from interfaces.ui.client.responses import Balance
from interfaces.ui.client.sessions import BrowserSession
from interfaces.ui.client.settings import UiSettings
from tests.interfaces.ui.tiny_api import TinyApi

BALANCE = "/billing/balance"


class ManualClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@asynccontextmanager
async def signed_in(tiny: TinyApi, clock: ManualClock) -> AsyncIterator[tuple[Api, BrowserSession]]:
    settings = UiSettings(api_url="http://api.test")
    async with http_client(settings, httpx.ASGITransport(app=tiny.app)) as http:
        api = Api(http, settings, clock)
        session = BrowserSession()
        await api.sign_in(session, "grace", "right")
        yield api, session


async def test_a_token_that_is_still_good_is_kept() -> None:
    tiny = TinyApi()
    async with signed_in(tiny, ManualClock()) as (api, session):
        await api.get(session, BALANCE, Balance)
        assert tiny.refreshes == 0


async def test_a_token_about_to_end_is_renewed_before_it_is_used() -> None:
    tiny, clock = TinyApi(), ManualClock()
    async with signed_in(tiny, clock) as (api, session):
        clock.now_s = 880.0
        await api.get(session, BALANCE, Balance)
        assert (tiny.refreshes, tiny.generation) == (1, 1)
        await api.get(session, BALANCE, Balance)
        assert tiny.refreshes == 1


async def test_callers_at_the_same_time_share_one_renewal() -> None:
    tiny, clock = TinyApi(), ManualClock()
    async with signed_in(tiny, clock) as (api, session):
        clock.now_s = 1000.0
        tiny.refresh_takes.clear()
        calls = [asyncio.create_task(api.get(session, BALANCE, Balance)) for _ in range(20)]
        await tiny.refresh_came.wait()
        tiny.refresh_takes.set()
        await asyncio.gather(*calls)
        assert tiny.refreshes == 1
        assert not tiny.is_revoked


async def test_a_token_refused_before_its_time_is_renewed_once_by_all_who_hold_it() -> None:
    tiny = TinyApi()
    async with signed_in(tiny, ManualClock()) as (api, session):
        tiny.access_ok = False
        await asyncio.gather(*(api.get(session, BALANCE, Balance) for _ in range(20)))
        assert tiny.refreshes == 1
        assert not tiny.is_revoked


async def test_a_caller_that_goes_away_does_not_lose_the_new_tokens() -> None:
    tiny, clock = TinyApi(), ManualClock()
    async with signed_in(tiny, clock) as (api, session):
        clock.now_s = 1000.0
        tiny.refresh_takes.clear()
        call = asyncio.create_task(api.get(session, BALANCE, Balance))
        await tiny.refresh_came.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        tiny.refresh_takes.set()
        await api.get(session, BALANCE, Balance)
        assert tiny.refreshes == 1
        assert session.tokens is not None
        assert session.tokens.refresh == "refresh-1"


async def test_a_session_that_the_api_has_ended_leaves_nothing_behind() -> None:
    tiny = TinyApi()
    async with signed_in(tiny, ManualClock()) as (api, session):
        tiny.is_revoked = True
        for _ in range(2):
            with pytest.raises(SignedOut):
                await api.get(session, BALANCE, Balance)
        assert session.tokens is None
        assert tiny.refreshes == 1


async def test_signing_out_during_a_renewal_stays_signed_out() -> None:
    tiny, clock = TinyApi(), ManualClock()
    async with signed_in(tiny, clock) as (api, session):
        clock.now_s = 1000.0
        tiny.refresh_takes.clear()
        call = asyncio.create_task(api.get(session, BALANCE, Balance))
        await tiny.refresh_came.wait()
        session.forget()
        tiny.refresh_takes.set()
        with pytest.raises(SignedOut):
            await call
        assert session.tokens is None


async def test_a_wrong_password_is_a_refusal_and_not_an_ended_session() -> None:
    tiny = TinyApi()
    async with signed_in(tiny, ManualClock()) as (api, _):
        with pytest.raises(ApiProblem, match="wrong_password"):
            await api.sign_in(BrowserSession(), "grace", "wrong")


async def test_an_api_that_is_not_there_is_unreachable() -> None:
    settings = UiSettings(api_url="http://127.0.0.1:9", connect_timeout_s=2)
    async with http_client(settings) as http:
        with pytest.raises(ApiUnreachable):
            await Api(http, settings, ManualClock()).sign_in(BrowserSession(), "grace", "right")


async def test_the_text_of_a_signed_in_session_hides_its_tokens() -> None:
    async with signed_in(TinyApi(), ManualClock()) as (_, session):
        assert "access-0" not in repr(session)
        assert "refresh-0" not in repr(session)


async def test_queries_carry_the_furthest_position_seen() -> None:
    tiny = TinyApi()
    async with signed_in(tiny, ManualClock()) as (api, session):
        for seen in ("7", "41", "9", None, ""):
            session.saw_position(seen)
        await api.get(session, BALANCE, Balance)
        assert tiny.positions == ["41"]
        await api.get(session, BALANCE, Balance)
        assert tiny.positions[-1] == "41", "a query's own answer does not move it"
