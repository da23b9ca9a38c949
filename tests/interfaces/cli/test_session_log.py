"""What a session leaves in the log of the running service: a line for each change, in order to be
read, and no secret."""

import re

import httpx

from tests.support.service import RunningService

PASSWORD = "hunter2 hunter2"


def test_a_session_is_logged_without_its_secrets_and_without_noise(
    running_service: RunningService,
) -> None:
    before = len(running_service.log())
    with httpx.Client(base_url=running_service.api_url, timeout=60) as client:
        user = {"username": "log-reader", "password": PASSWORD}
        client.post("/auth/register", json={**user, "email": "log@example.com"})
        client.post("/auth/login", json={**user, "password": "a wrong password"})
        tokens = client.post("/auth/login", json=user).json()
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        body = {"message": "A private question?", "max_tokens": 3}
        assert client.post("/chat/message", json=body, headers=headers).status_code == 200
        client.get("/chat/history", params={"q": "private"}, headers=headers)
        client.post("/auth/logout", headers=headers)

    logged = running_service.log()[before:]

    for secret in (PASSWORD, "a wrong password", "private", *map(str, tokens.values())):
        if len(secret) > 6:  # not "bearer" and the number of seconds
            assert secret not in logged
    requests = re.findall(r"method=(\S+) path=(\S+) request_id=\S+ status=(\d+)", logged)
    assert ("POST", "/auth/register", "201") in requests
    assert ("POST", "/auth/login", "401") in requests
    assert ("POST", "/chat/message", "200") in requests
    assert "Traceback" not in logged
    assert "GET" not in {method for method, _, _ in requests}, "what only reads is not worth a line"
