"""Checks that a query has only known parameters, each once and with a value. Ignoring a misspelt
one in silence would answer another question than the one that was asked."""

from collections import Counter
from difflib import get_close_matches
from itertools import islice

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

_NAMED_MAX = 5
_SHOWN_CHARACTERS_MAX = 40


def query_names(dependant: Dependant) -> frozenset[str]:
    """The parameters that a route reads, and those of everything it depends on."""
    own = {field.alias for field in dependant.query_params}
    return frozenset(own.union(*(query_names(inner) for inner in dependant.dependencies)))


def check_query(request: Request, known: frozenset[str]) -> None:
    """Raises RequestValidationError, which names the parameters and the nearest known ones."""
    sent = request.query_params.multi_items()
    counts = Counter(name for name, _ in sent)
    empty = {name for name, value in sent if not value}
    wrong = (
        {"type": "query", "loc": ("query", _shown(name)), "msg": said}
        for name in counts
        if (said := _what_is_wrong(name, counts[name], name in empty, known)) is not None
    )
    # Only the first few are looked at: comparing names is slow, and anybody may send thousands.
    named = list(islice(wrong, _NAMED_MAX))
    if named:
        raise RequestValidationError(named)


class WithoutQuery:
    """For the routes of a library, which read no parameters."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        check_query(Request(scope), frozenset())
        await self._app(scope, receive, send)


def _what_is_wrong(name: str, count: int, is_empty: bool, known: frozenset[str]) -> str | None:
    if name not in known:
        if not known:
            return "there is no such parameter; this route has none"
        near = get_close_matches(name[:_SHOWN_CHARACTERS_MAX].lower(), known, 1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
        return f"there is no such parameter; {hint}"
    if count > 1:
        return f"is given {count} times; give it once"
    if is_empty:
        return "is empty; give it a value or leave it out"
    return None


def _shown(name: str) -> str:
    shown = "".join(character if character.isprintable() else "?" for character in name)
    return shown if len(shown) <= _SHOWN_CHARACTERS_MAX else f"{shown[:_SHOWN_CHARACTERS_MAX]}…"
