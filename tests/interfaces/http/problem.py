"""What every refusal looks like, whatever was refused."""

from uuid import UUID

import httpx

from tests.support.api import Person

JSON = {"Content-Type": "application/json"}

FORM = "application/x-www-form-urlencoded"

NOWHERE = str(UUID(int=1))


def check_problem(response: httpx.Response, *statuses: int, code: str | None = None) -> None:
    assert response.status_code in statuses, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["request_id"] == response.headers["X-Request-ID"]
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]
    assert problem["code"]
    if code is not None:
        assert problem["code"] == code, problem


async def send(
    person: Person, path: str, body: str | bytes, method: str = "POST", **headers: str
) -> httpx.Response:
    content = body if isinstance(body, bytes) else body.encode()
    return await person.ask(method, path, content=content, headers=JSON | headers)
