"""What ends sessions ends them though clocks differ, and whoever signs in anew can go on."""

from datetime import timedelta
from functools import reduce

import pytest

from domain.errors import SessionEnded
from domain.sessions.decider import CLOCKS_DIFFER_MAX, decide, usable
from domain.sessions.state import evolve
from domain.users.commands import UserCommand
from domain.users.decider import decide as decide_user
from domain.users.state import evolve as evolve_user
from tests.domain.given import NOW, in_days
from tests.domain.test_sessions import NEW_PASSWORD, OPEN, REINSTATE, SUSPEND, after, user_after

ENDINGS = pytest.mark.parametrize(
    "ending", [(NEW_PASSWORD,), (SUSPEND, REINSTATE)], ids=["new password", "suspension"]
)


@ENDINGS
@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(seconds=1), CLOCKS_DIFFER_MAX])
def test_a_session_ends_also_where_it_was_opened_by_a_clock_that_is_ahead(
    ending: tuple[UserCommand, ...], ahead: timedelta
) -> None:
    session = after(at=NOW + ahead)

    for later in (NOW, in_days(2)):
        with pytest.raises(SessionEnded, match="ended this session"):
            usable(session, user_after(*ending), later)


@ENDINGS
@pytest.mark.parametrize("behind", [timedelta(0), timedelta(seconds=1), timedelta(days=1)])
def test_whoever_signs_in_afterwards_has_a_session_also_where_the_clock_is_behind(
    ending: tuple[UserCommand, ...], behind: timedelta
) -> None:
    user = user_after(*ending)

    (opened,) = decide(OPEN, None, user, NOW - behind)

    assert usable(evolve(None, opened), user, NOW - behind)


@ENDINGS
@pytest.mark.parametrize("last", [NEW_PASSWORD, SUSPEND])
def test_what_ends_sessions_ends_them_also_after_a_clock_was_set_back(
    ending: tuple[UserCommand, ...], last: UserCommand
) -> None:
    user = user_after(*ending, at=in_days(1))
    (opened,) = decide(OPEN, None, user, NOW)
    for command in (last, REINSTATE):
        user = reduce(evolve_user, decide_user(command, user, NOW), user)

    with pytest.raises(SessionEnded, match="ended this session"):
        usable(evolve(None, opened), user, NOW)
