"""Two people and one page: what is somebody's stays with their browser, and ends with them."""

import httpx

from tests.interfaces.ui.page_user import (
    DATA,
    JOIN,
    SESSION,
    PageUser,
    client_of,
    running_page,
)
from tests.interfaces.ui.tiny_api import CONVERSATION, TinyApi

SECRET = "Ada writes to the Admiral"


async def test_signing_in_and_out_changes_the_name_of_the_browser_and_the_old_one_is_dead() -> None:
    async with running_page(TinyApi()) as app, client_of(app) as client:
        user = await PageUser(client).open()
        names = [user.cookie]
        await user.sign_in("grace")
        names.append(user.cookie)
        assert "grace" in await user.does("", "load")
        await user.sign_out()
        names.append(user.cookie)
        assert "You are signed out" in await user.does("", "load")
        assert len(set(names)) == 3
        for dead in names[:2]:
            async with client_of(app) as thief:
                thief.cookies.set("chatledger_browser", dead)
                assert (await thief.get(SESSION)).status_code == 403
                stolen = PageUser(thief)
                stolen._config = user._config
                assert (await stolen.send(stolen.event("", "load"))).status_code == 403
                assert (await thief.get("/")).headers["set-cookie"]


async def test_the_tab_in_which_somebody_signs_out_is_told_so_and_no_other() -> None:
    async with running_page(TinyApi()) as app, client_of(app) as client:
        user = await PageUser(client).open()
        await user.sign_in("grace")
        await user.does("", "load")
        await user.sign_out()
        second = PageUser(client)
        second._config = user._config
        assert "You are signed out" not in await second.does("", "load")
        assert "You are signed out" in await user.does("", "load")


async def test_a_name_that_was_planted_is_worth_nothing_after_its_owner_signed_in() -> None:
    async with running_page(TinyApi()) as app, client_of(app) as theirs, client_of(app) as thief:
        attacker = await PageUser(thief).open()
        victim = PageUser(theirs)
        theirs.cookies.set("chatledger_browser", attacker.cookie, domain="page.test")
        await victim.open()
        assert victim.cookie == attacker.cookie
        assert "grace" not in await attacker.does("", "load")
        await victim.sign_in("grace")
        assert victim.cookie != attacker.cookie
        assert (await attacker.send(attacker.event("", "load"))).status_code == 403


async def test_a_code_is_redeemed_once_and_by_its_own_browser_alone() -> None:
    async with running_page(TinyApi()) as app, client_of(app) as own, client_of(app) as other:
        user, thief = await PageUser(own).open(), await PageUser(other).open()
        code = user.code_in(await user.does("cl-sign-in", data=["grace", "right"]))
        before = thief.cookie
        assert "set-cookie" not in (await other.post(SESSION, json={"code": code})).headers
        assert thief.cookie == before
        assert "set-cookie" in (await own.post(SESSION, json={"code": code})).headers
        name = user.cookie
        assert "set-cookie" not in (await own.post(SESSION, json={"code": code})).headers
        assert user.cookie == name


async def test_nothing_of_anybody_is_told_after_they_signed_out_whatever_event_is_made_up() -> None:
    tiny = TinyApi()
    tiny.titles = [SECRET]
    async with running_page(tiny) as app, client_of(app) as client:
        user = await (await PageUser(client).open()).sign_in("grace")
        await user.open()
        assert SECRET in await user.does("", "load")
        tab, name = user.session_hash, user.cookie
        told = await user.does("cl-sign-out")
        assert SECRET not in told
        for event in user._config["dependencies"]:
            kinds = {on for _, on in event["targets"]}
            if not event["backend_fn"] or kinds == {"unload"}:
                continue
            for pressed in ({"action": "more"}, {"action": "receipt", "value": CONVERSATION}):
                body = {
                    "session_hash": tab,
                    "fn_index": event["id"],
                    "data": ["x"] * len(event["inputs"]),
                    "event_data": pressed,
                }
                assert (await user.send(body)).status_code == 200
                assert SECRET not in await user.updates(), event["targets"]
        await user.exchange(told)
        assert user.cookie != name
        tiny.titles = []
        await user.sign_in("bob")
        user.session_hash = tab
        assert SECRET not in await user.does("", "load")
        assert SECRET not in await user.does("cl-new-chat")


async def test_a_session_that_the_api_has_ended_leaves_nothing_in_any_tab() -> None:
    tiny = TinyApi()
    tiny.titles = [SECRET]
    async with running_page(tiny) as app, client_of(app) as client:
        user = await (await PageUser(client).open()).sign_in("grace")
        await user.open()
        await user.does("", "load")
        tiny.is_revoked = True
        await user.does("cl-new-chat")
        assert SECRET not in await user.does("cl-history-search")
        for place in ("cl-new-chat", "cl-rename", "cl-stop", "cl-newer"):
            assert SECRET not in await user.does(place), place


async def test_a_tab_answers_to_the_browser_that_opened_it_and_to_no_other() -> None:
    async with running_page(TinyApi()) as app, client_of(app) as own, client_of(app) as other:
        user, thief = await PageUser(own).open(), await PageUser(other).open()
        await user.send(user.event("", "load"))
        thief.session_hash = user.session_hash
        refused = [
            await thief.send(thief.event("", "load")),
            await other.get(DATA, params={"session_hash": user.session_hash}),
            await other.get(f"/gradio_api/heartbeat/{user.session_hash}"),
            await other.post("/gradio_api/cancel", json={"session_hash": user.session_hash}),
        ]
        assert [answer.status_code for answer in refused] == [404] * 4
        assert "process_completed" in await user.updates(), "its own updates are still there"


async def test_nobody_is_let_in_without_the_cookie() -> None:
    async with running_page(TinyApi()) as app, client_of(app) as client:
        user = await PageUser(client).open()
        body = user.event("cl-sign-in")
        client.cookies.clear()
        for answer in (
            await client.post(JOIN, json=body),
            await client.get(DATA, params={"session_hash": user.session_hash}),
            await client.get(SESSION),
        ):
            assert answer.status_code == 403
            assert "cookie" in answer.json()["detail"]


async def test_a_link_of_another_site_does_not_sign_anybody_out() -> None:
    elsewhere = {"sec-fetch-site": "cross-site"}
    async with running_page(TinyApi()) as app, client_of(app) as client:
        # A browser sends no SameSite=Strict cookie here, whether or not it has one.
        answer = await client.get("/", headers=elsewhere)
        assert "set-cookie" not in answer.headers
        assert 'location.replace("?here")' in answer.text
        followed: httpx.Response = await client.get("/?here", headers=elsewhere)
        assert "set-cookie" in followed.headers, "the page leads to itself once"
