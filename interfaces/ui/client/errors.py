"""What can go wrong between the page and the API.

UiError
├── ApiProblem       the API refused: a problem document (RFC 9457)
├── ApiUnreachable   no answer at all: not running, too slow, connection lost
├── ApiGarbled       an answer that is not what the contract says
└── SignedOut        no session, or one that has ended
"""

from dataclasses import dataclass
from typing import Any


class UiError(Exception):
    """The root of this tree."""


@dataclass(eq=False)
class ApiProblem(UiError):
    """A refusal of the API. ``fields`` are (field, what is wrong with it)."""

    status: int
    code: str
    title: str
    detail: str
    request_id: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    retry_after_s: int | None = None

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.detail}"

    @classmethod
    def of(cls, status: int, document: Any, retry_after: str | None = None) -> "ApiProblem":
        """Read a problem document; whatever it lacks is filled with plain words."""
        body = document if isinstance(document, dict) else {}
        errors = body.get("errors")
        fields = tuple(
            (str(entry.get("field", "")), str(entry.get("detail", "")))
            for entry in (errors if isinstance(errors, list) else [])
            if isinstance(entry, dict)
        )
        return cls(
            status=status,
            code=str(body.get("code") or "unknown"),
            title=str(body.get("title") or "The service refused this"),
            detail=str(body.get("detail") or f"The service answered with status {status}."),
            request_id=str(body.get("request_id") or ""),
            fields=fields,
            retry_after_s=int(retry_after) if retry_after and retry_after.isdigit() else None,
        )


class ApiUnreachable(UiError):
    """The API gave no answer."""


class ApiGarbled(UiError):
    """The API's answer does not follow its contract."""


class SignedOut(UiError):
    """There is no signed-in person behind this request, or not any more."""
