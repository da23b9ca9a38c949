"""What the API says to the same person, to compare with what the page says."""

from typing import Any

import httpx

from interfaces.exact_json import read_json
from tests.browser.visitor import PASSWORD

MESSAGES_MAX = 60


class ApiUser:
    """A person who is signed in to the API."""

    def __init__(self, api_url: str, username: str) -> None:
        self._http = httpx.Client(base_url=api_url, timeout=60, trust_env=False)
        login = {"username": username, "password": PASSWORD}
        answer = self._http.post("/auth/login", json=login).raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def __enter__(self) -> "ApiUser":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str) -> Any:
        return read_json(self._http.get(path).raise_for_status().content)

    def spend_all(self) -> None:
        """Ask for one-word answers until the account cannot pay for another message."""
        body = {"message": "Say yes.", "max_tokens": 1}
        for _ in range(MESSAGES_MAX):
            if self._http.post("/chat/message", json=body).status_code == 402:
                return
        raise AssertionError("the account does not come to its end")
