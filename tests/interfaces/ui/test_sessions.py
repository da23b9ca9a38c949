"""The cookie names a browser, and the tokens stay here."""

from interfaces.ui.client.responses import Person
from interfaces.ui.client.sessions import (
    COOKIE_NAME,
    BrowserSession,
    BrowserSessions,
    Tokens,
    browser_name,
)


class ManualClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def sessions(clock: ManualClock, *, count_max: int = 10) -> BrowserSessions:
    return BrowserSessions(idle_s=100, count_max=count_max, monotonic=clock)


def signed_in() -> BrowserSession:
    return BrowserSession(tokens=Tokens(access="a", refresh="r", expires_at_s=1))


def test_only_names_given_out_here_are_accepted() -> None:
    here, elsewhere = sessions(ManualClock()), sessions(ManualClock())
    name = here.new_name()
    assert here.is_ours(name)
    assert not elsewhere.is_ours(name)
    for forged in ("", ".", "abc", f"{name}x", name.partition(".")[0], "é.é", "." + name):
        assert not here.is_ours(forged), forged


def test_a_browser_that_is_not_signed_in_takes_no_room() -> None:
    found = sessions(ManualClock())
    assert found.find(found.new_name()).tokens is None
    assert found.count == 0


def test_a_session_ends_when_it_is_not_used() -> None:
    clock = ManualClock()
    found, session = sessions(clock), signed_in()
    found.keep("grace", session)
    clock.now_s = 90
    assert found.find("grace") is session
    clock.now_s = 180
    assert found.find("grace") is session, "each use begins a new wait"
    clock.now_s = 281
    assert found.find("grace") is not session
    assert session.tokens is None


def test_the_session_longest_unused_gives_way() -> None:
    found = sessions(ManualClock(), count_max=2)
    ada, bob, eve = signed_in(), signed_in(), signed_in()
    found.keep("grace", ada)
    found.keep("bob", bob)
    found.find("grace")
    found.keep("eve", eve)
    assert found.find("grace") is ada
    assert found.find("eve") is eve
    assert bob.tokens is None


def test_somebody_who_signs_in_again_and_again_crowds_out_nobody() -> None:
    found = sessions(ManualClock(), count_max=30)
    ada = signed_in()
    ada.person = Person(username="grace")
    found.keep("grace", ada)
    for number in range(100):
        again = signed_in()
        again.person = Person(username="eve")
        found.keep(f"eve-{number}", again)
    assert found.find("grace") is ada
    assert found.count == 21
    assert found.signed_in("eve-99") is again
    assert found.signed_in("eve-79") is None


def test_signing_out_forgets_the_tokens() -> None:
    found, session = sessions(ManualClock()), signed_in()
    found.keep("grace", session)
    found.drop("grace")
    assert session.tokens is None
    assert found.find("grace") is not session


def test_the_name_is_read_from_the_cookie_header() -> None:
    assert browser_name(f"other=1; {COOKIE_NAME}=abc.def; more=2") == "abc.def"
    assert browser_name(None) == ""
    assert browser_name("other=1") == ""
    assert browser_name("\x00;;=;") == ""
