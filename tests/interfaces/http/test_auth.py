"""/auth: registration, sign-in, and what a token is worth."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from tests.support.api import JWT_SECRET, PASSWORD, Api, Person

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_new_user_is_told_who_they_are_and_has_the_welcome_credits(api: Api) -> None:
    body = {"username": "Ada.Lovelace", "email": "ada@example.com", "password": PASSWORD}
    response = await api.client.post("/auth/register", json=body)

    assert response.status_code == 201
    found = response.json()
    assert UUID(found.pop("user_id"))
    assert found == {
        "username": "Ada.Lovelace",
        "email": "ada@example.com",
        "email_verified": False,
    }
    assert "password" not in response.text
    tokens = await api.sign_in("ada.lovelace")
    headers = {
        "Authorization": f"Bearer {tokens['access_token']}",
        "Ledger-Position": response.headers["Ledger-Position"],
    }
    balance = (await api.client.get("/billing/balance", headers=headers)).json()
    assert (balance["available"], balance["promotional"], balance["paid"]) == (100, 100, 0)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"username": "someone-else"}, "email_taken"),
        ({"email": "other@example.com"}, "username_taken"),
        ({}, "username_taken"),
    ],
)
async def test_a_name_or_an_address_that_is_taken_is_a_conflict(
    api: Api, person: Person, change: dict[str, str], code: str
) -> None:
    body = {"username": person.username, "email": person.email, "password": PASSWORD} | change

    response = await api.client.post("/auth/register", json=body)

    assert (response.status_code, response.json()["code"]) == (409, code)


async def test_a_registration_is_replayed_under_its_key(api: Api) -> None:
    body = {"username": "grace", "email": "grace@example.com", "password": PASSWORD}
    key = {"Idempotency-Key": "k"}

    first = await api.client.post("/auth/register", json=body, headers=key)
    again = await api.client.post("/auth/register", json=body, headers=key)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("name", ["username", "email"])
async def test_a_user_signs_in_with_name_or_address(api: Api, person: Person, name: str) -> None:
    tokens = await api.sign_in(getattr(person, name).upper())

    assert tokens["token_type"] == "bearer"
    assert tokens["expires_in"] == 30 * 60
    me = await api.client.get(
        "/auth/me", headers={"Authorization": f"Bearer {tokens['access_token']}"}
    )
    assert me.json() == {
        "user_id": person.user_id,
        "username": person.username,
        "email": person.email,
        "email_verified": False,
        "role": "user",
    }


async def test_tokens_are_not_kept_by_anything_on_the_way(api: Api, person: Person) -> None:
    response = await api.client.post(
        "/auth/login", json={"username": person.username, "password": PASSWORD}
    )

    assert response.headers["Cache-Control"] == "no-store"


async def test_the_form_of_oauth2_does_the_same(api: Api, person: Person) -> None:
    response = await api.client.post(
        "/auth/token",
        data={"grant_type": "password", "username": person.username, "password": PASSWORD},
    )

    assert response.status_code == 200
    assert set(response.json()) == {"access_token", "refresh_token", "token_type", "expires_in"}


async def test_nobody_learns_whether_a_name_exists(api: Api, person: Person) -> None:
    refusals = []
    for name in (person.username, "nobody-at-all", "nobody@example.com"):
        body = {"username": name, "password": "a wrong password"}
        response = await api.client.post("/auth/login", json=body)
        refusals.append((response.status_code, response.json()["detail"], response.json()["code"]))

    assert set(refusals) == {(401, "the username or the password is wrong", "wrong_credentials")}


async def test_signing_out_ends_this_session_and_no_other(api: Api, person: Person) -> None:
    elsewhere = await api.sign_in(person.username)

    assert (await person.post("/auth/logout")).status_code == 204

    assert (await person.get("/auth/me")).json()["code"] == "session_ended"
    headers = {"Authorization": f"Bearer {elsewhere['access_token']}"}
    assert (await api.client.get("/auth/me", headers=headers)).status_code == 200


def sign(claims: dict[str, Any], *, secret: str = JWT_SECRET, **header: Any) -> str:
    fields = {"alg": "HS256", "typ": "at+jwt"} | header
    key = OctKey.import_key(secret)
    return str(jwt.encode(fields, claims, key, algorithms=["HS256", "HS384", "HS512"]))


def claims_of(person: Person, **changes: Any) -> dict[str, Any]:
    payload = person.tokens["access_token"].split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims |= changes
    return {name: value for name, value in claims.items() if value is not None}


def unsigned(claims: dict[str, Any], algorithm: str) -> str:
    def encode(part: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")

    return f"{encode({'alg': algorithm, 'typ': 'at+jwt'})}.{encode(claims)}."


async def test_the_tests_can_sign_a_good_token(api: Api, person: Person) -> None:
    headers = {"Authorization": f"Bearer {sign(claims_of(person))}"}

    assert (await api.client.get("/auth/me", headers=headers)).status_code == 200


_PAST = int((datetime.now(UTC) - timedelta(seconds=1)).timestamp())  # noqa: TID251


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        (lambda p: sign(claims_of(p, exp=_PAST)), "token_expired"),
        (lambda p: sign(claims_of(p, exp=None)), "invalid_token"),
        (lambda p: sign(claims_of(p, exp="tomorrow")), "invalid_token"),
        (
            lambda p: sign(claims_of(p), secret="another secret, of the same length as that"),
            "invalid_token",
        ),
        (lambda p: sign(claims_of(p), alg="HS512"), "invalid_token"),
        (lambda p: unsigned(claims_of(p), "none"), "invalid_token"),
        (lambda p: unsigned(claims_of(p), "None"), "invalid_token"),
        (lambda p: sign(claims_of(p), typ="rt+jwt"), "invalid_token"),
        (lambda p: sign(claims_of(p), typ="JWT"), "invalid_token"),
        (lambda p: p.tokens["refresh_token"], "invalid_token"),
        (lambda p: sign(claims_of(p, iss="somebody else")), "invalid_token"),
        (lambda p: sign(claims_of(p, iss=None)), "invalid_token"),
        (lambda p: sign(claims_of(p, sub=None)), "invalid_token"),
        (lambda p: sign(claims_of(p, sub="root")), "invalid_token"),
        (lambda p: sign(claims_of(p, sub=7)), "invalid_token"),
        (lambda p: sign(claims_of(p, sid=None)), "invalid_token"),
        (lambda p: sign(claims_of(p, sid="..")), "invalid_token"),
        (lambda p: sign(claims_of(p, sid=str(UUID(int=1)))), "session_ended"),
        (lambda p: sign(claims_of(p, sub=str(UUID(int=1)))), "session_ended"),
        (lambda p: sign(claims_of(p, sid=p.user_id)), "session_ended"),
        (lambda p: p.tokens["access_token"][:-2], "invalid_token"),
        (lambda p: p.tokens["access_token"] + "A", "invalid_token"),
        (lambda p: p.tokens["access_token"].replace(".", "..", 1), "invalid_token"),
        (lambda p: "garbage", "invalid_token"),
        (lambda p: "a.b.c", "invalid_token"),
        (lambda p: "." * 5000, "invalid_token"),
        (lambda p: "x" * 20_000, "invalid_token"),
        (lambda p: "\u00fc.\u00fc.\u00fc", "invalid_token"),
        (lambda p: "", "unauthenticated"),
    ],
)
async def test_a_token_that_was_not_made_here_for_this_is_worth_nothing(
    api: Api, person: Person, forge: Any, code: str
) -> None:
    headers = [(b"Authorization", f"Bearer {forge(person)}".encode("latin-1"))]

    response = await api.client.get("/auth/me", headers=headers)

    assert (response.status_code, response.json()["code"]) == (401, code), response.text
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "forge",
    [
        lambda p: p.tokens["access_token"],
        lambda p: sign(claims_of(p), typ="rt+jwt"),
        lambda p: sign(claims_of(p, gen="one"), typ="rt+jwt"),
        lambda p: sign(claims_of(p, gen=99), typ="rt+jwt"),
        lambda p: sign(claims_of(p, gen=-1), typ="rt+jwt"),
        lambda p: sign(claims_of(p, gen=1, exp=_PAST), typ="rt+jwt"),
        lambda p: "",
        lambda p: "garbage",
        lambda p: "\x00",
        lambda p: "ü",
        lambda p: p.tokens["refresh_token"] + "\n",
    ],
)
async def test_only_a_refresh_token_refreshes(api: Api, person: Person, forge: Any) -> None:
    response = await api.client.post("/auth/refresh", json={"refresh_token": forge(person)})

    assert response.status_code == 401, response.text
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("scheme", ["Basic", "Token", "bearer x", "Bearer", ""])
async def test_another_scheme_is_not_signed_in(api: Api, person: Person, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {person.tokens['access_token']}".strip()}
    if scheme == "Bearer":
        headers = {"Authorization": "Bearer"}

    assert (await api.client.get("/auth/me", headers=headers)).status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/auth/me"),
        ("POST", "/auth/logout"),
        ("POST", "/chat/message"),
        ("POST", "/chat/quote"),
        ("GET", "/chat/status"),
        ("GET", "/chat/history"),
        ("GET", "/chat/conversations"),
        ("PATCH", f"/chat/conversations/{UUID(int=1)}"),
        ("DELETE", f"/chat/conversations/{UUID(int=1)}"),
        ("GET", "/billing/balance"),
        ("POST", "/billing/add"),
        ("GET", "/billing/transactions"),
        ("GET", f"/billing/receipts/{UUID(int=1)}"),
    ],
)
async def test_what_belongs_to_somebody_asks_who_is_there(api: Api, method: str, path: str) -> None:
    response = await api.client.request(method, path, json={"message": "Hello", "title": "Hi"})

    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
