"""Random requests to every route that the schema names: nothing they hold is a 5xx, every refusal
is a problem document, and the books balance afterwards."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infrastructure.embedded.servers import EmbeddedServers
from tests.interfaces.http.problem import check_problem
from tests.support.api import Person, running_api

EXAMPLES = 250
# Their answers are what they should be although they look like failures.
_NOT_PREPARED = "model_unavailable"

_texts = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(codec=None), max_size=10),
    st.sampled_from(
        ["", "Hello", "\x00", "\ud800", "gemma3-270m", "gemma3-1b", "starter", "2026-01-01T00:00Z"]
    ),
    st.uuids().map(str),
    st.datetimes().map(lambda time: time.isoformat() + "Z"),
)
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-5, 500),
    st.floats(),
    st.decimals(allow_nan=False, allow_infinity=False).map(float),
    _texts,
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_headers = st.fixed_dictionaries(
    {},
    optional={
        "Idempotency-Key": st.text(st.characters(max_codepoint=255), max_size=12),
        "Ledger-Position": st.one_of(
            st.integers(0, 5).map(str), st.text(st.characters(max_codepoint=255), max_size=5)
        ),
        "X-Request-ID": st.text(st.characters(max_codepoint=255), max_size=70),
        "Accept": st.sampled_from(["*/*", "text/html", "text/event-stream"]),
    },
)


class Runner:
    """The API in an event loop that lasts as long as all examples."""

    def __init__(self, loop: asyncio.AbstractEventLoop, person: Person) -> None:
        self._loop = loop
        self._person = person
        schema = self._wait(person.api.client.get("/openapi.json")).json()
        self._components: dict[str, Any] = schema["components"]["schemas"]
        self.operations: list[tuple[str, str, dict[str, Any]]] = [
            (method.upper(), path, operation)
            for path, methods in sorted(schema["paths"].items())
            for method, operation in sorted(methods.items())
            # Signing out would end the examples.
            if path != "/auth/logout"
        ]

    def fields(self, operation: dict[str, Any]) -> list[str]:
        """The names that the operation's body may have."""
        content = operation.get("requestBody", {}).get("content", {})
        for media_type in content.values():
            name = media_type["schema"].get("$ref", "").rpartition("/")[2]
            return list(self._components.get(name, {}).get("properties", {}))
        return []

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        named = self._person.headers | request.pop("headers")
        if "media_type" in request:
            named["Content-Type"] = request.pop("media_type")
        headers = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
        return self._wait(self._person.api.client.request(method, path, headers=headers, **request))

    def _wait(self, awaitable: Any) -> httpx.Response:
        response: httpx.Response = self._loop.run_until_complete(awaitable)
        return response


@pytest.fixture(scope="module")
def runner(
    embedded_servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runner]:
    loop = asyncio.new_event_loop()
    opened = running_api(embedded_servers, Path(tmp_path_factory.mktemp("fuzz")))
    api = loop.run_until_complete(opened.__aenter__())
    yield Runner(loop, loop.run_until_complete(api.person()))
    # The books are checked here.
    loop.run_until_complete(opened.__aexit__(None, None, None))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(data=st.data())
def test_nothing_that_is_sent_is_a_fault_of_the_service(
    runner: Runner, data: st.DataObject
) -> None:
    method, template, operation = data.draw(st.sampled_from(runner.operations))
    path = template
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            value = data.draw(st.one_of(st.uuids().map(str), _path_texts))
            path = path.replace("{" + parameter["name"] + "}", value)
    names = [p["name"] for p in operation.get("parameters", []) if p["in"] == "query"]
    # Seldom, because with it nothing else is looked at.
    unknown = data.draw(st.sampled_from([[], [], [], [], ["x"]]))
    query = data.draw(
        st.fixed_dictionaries({}, optional=dict.fromkeys([*names, *unknown], _query_texts))
    )
    request: dict[str, Any] = {"params": query, "headers": data.draw(_headers)}
    if method in ("POST", "PATCH", "PUT"):
        request |= data.draw(_bodies(template, runner.fields(operation)))

    response = runner.send(method, path, **request)

    if "x" in query:
        check_problem(response, 422)
    if response.status_code >= 400:
        accepted = {503} if _NOT_PREPARED in response.text else set()
        check_problem(response, *range(400, 500), *accepted)


_path_texts = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=40)
_query_texts = st.one_of(
    st.text(max_size=30), st.integers().map(str), st.datetimes().map(lambda t: t.isoformat() + "Z")
)


# What each route would take as it is; the examples change a field or two of it.
_GOOD: dict[str, dict[str, Any]] = {
    "/auth/register": {"username": "eve", "email": "e@example.com", "password": "long enough"},
    "/auth/login": {"username": "admin", "password": "Admin123!"},
    "/auth/token": {"username": "admin", "password": "Admin123!"},
    "/billing/add": {"amount": 5},
    "/chat/message": {"message": "Hello", "max_tokens": 3},
    "/chat/quote": {"message": "Hello"},
    "/chat/conversations/{conversation_id}": {"title": "A title"},
}


def _bodies(path: str, fields: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Mostly good objects with a field or two changed, and now and then anything at all."""
    good = _GOOD.get(path, {})
    changes = st.dictionaries(st.sampled_from([*fields, "x"]), _values, max_size=2)
    objects = changes.map(lambda changed: good | changed)
    as_json = st.one_of(objects, objects, objects, _values).map(
        lambda body: _content(json.dumps(body).encode(), "application/json")
    )
    as_form = objects.map(lambda body: {"data": {name: _form_text(v) for name, v in body.items()}})
    anything = st.builds(
        _content,
        st.binary(max_size=50),
        st.sampled_from(["application/json", "text/plain", "application/x+json", ";", ""]),
    )
    if path == "/auth/token":
        return st.one_of(as_form, as_form, anything)
    return st.one_of(as_json, as_json, as_json, as_json, as_form, anything)


def _content(body: bytes, media_type: str) -> dict[str, Any]:
    return {"content": body, "media_type": media_type}


def _form_text(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()
