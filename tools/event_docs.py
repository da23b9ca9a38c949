"""`python -m tools.event_docs` writes docs/events.md from the event classes.

A test compares the file with the rendering, so the page cannot fall behind the code.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from itertools import product
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints
from uuid import UUID

from application.ledger.streams import ALL_KINDS, StreamKind
from domain.accounts.events import AccountEvent, MoneyEvent
from domain.accounts.postings import postings
from domain.events import Event, PersonalMark

EVENTS_PAGE = Path(__file__).parents[1] / "docs" / "events.md"

_HEADER_FIELDS = ("originator_id", "originator_version", "timestamp")
_TITLES = {
    "account": "Credit account: one stream per user",
    "conversation": "Conversation: one stream per conversation",
    "user": "User: one stream per user",
    "session": "Session: one stream per sign-in",
    "claim": "Claim: one stream per value that one owner may have",
    "idempotency": "Idempotency: one stream per user and Idempotency-Key",
}
_PREFACE = """\
<!-- Written by `python -m tools.event_docs`: change the event classes instead. -->
# Events

For whoever reads the log, writes a projection or changes an event: every event under its stored
name, with its fields and what it posts.

A stored name is never reused and never renamed. When an event's fields change, its version is
raised and the class says how to read the older ones (`tests/domain/stored_names.json` holds the
code to that).

Every event starts with `originator_id` (the stream), `originator_version` (its place there, from 1
without a gap) and `timestamp`. Its stored form ends with `mac`, which proves that this ledger wrote
it ([audit.md](audit.md#mac-of-an-event)). Amounts are integers of micro-credits: 1 credit is
1,000,000. Fields marked *personal* tell something about a person. They are to be encrypted, with a
key for each person, so nothing queries inside stored events.

The postings of a money event move credits from one account to another, so they always sum to zero.
Only the user's account is a stream; the others exist in the journal.

## How to change an event

History is never rewritten, so the class learns to read what was stored before it changed.

- **Another class name or module**: keep `TOPIC`. Nothing else is stored.
- **Fields**: in this order,
  1. before the change, freeze a log in the old form with `python -m tests.history.old_logs NAME`,
     unless one is kept already;
  2. change the fields, raise `class_version` by one, and add a static method `upcast_v1_v2(state)`
     that changes an older state (a dictionary of JSON values) in place. Upcasters are applied one
     after the other, so each is written once;
  3. if a folded state changes with it, raise `state_version` in `application/ledger/streams.py`, so
     that old snapshots are folded anew;
  4. record the new form with `python -m tests.domain.stored_names`.
- **Another meaning** under the same fields is another event: give it a name of its own, and go on
  reading the old one.
- **An event that is no longer written** keeps its class.

A service refuses an event of a newer version instead of misreading it. So let a new form be written
only when every process knows it. `tests/history/test_upcasting.py` is a worked example;
`tests/fixtures/event_logs` has logs of old formats, each with the books and read models that must
come out of it."""


@dataclass(frozen=True, kw_only=True)
class EventField:
    """values: the dataclasses and enums that its type mentions."""

    name: str
    type_text: str
    personal: bool
    values: tuple[type[Any], ...]


def fields_of(stored_type: type[Any]) -> tuple[EventField, ...]:
    """The fields in the order of their definition, without the header every event starts with."""
    hints = get_type_hints(stored_type, include_extras=True)
    return tuple(
        EventField(
            name=field.name,
            type_text=type_text(hints[field.name]),
            personal=_is_personal(hints[field.name]),
            values=tuple(_values_in(hints[field.name])),
        )
        for field in fields(stored_type)
        if field.name not in _HEADER_FIELDS
    )


def type_text(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        return type_text(get_args(hint)[0])
    if isinstance(hint, UnionType):
        some = [type_text(part) for part in get_args(hint) if part is not NoneType]
        return " or ".join([*some, "none"] if NoneType in get_args(hint) else some)
    if get_origin(hint) is tuple:
        return f"list of {type_text(get_args(hint)[0])}"
    return str(hint.__name__)


def render_event_docs() -> str:
    parts = [_PREFACE]
    values: dict[str, type[Any]] = {}
    for kind in ALL_KINDS:
        parts.append(f"## {_TITLES.get(kind.name, kind.name.capitalize())}")
        parts.extend(_render_event(event_type) for event_type in kind.event_types)
        values |= {value.__name__: value for value in _values_of(kind)}
    parts.append("## Values inside events")
    parts.extend(_render_value(values[name]) for name in sorted(values))
    return "\n\n".join(parts) + "\n"


def _render_event(event_type: type[Event]) -> str:
    parts = [
        f"### {event_type.__name__}",
        f"`{event_type.TOPIC}`, version {event_type.class_version}",
        *_docstring(event_type),
        *_table(fields_of(event_type)),
        *_posting_lines(event_type),
    ]
    return "\n\n".join(parts)


def _render_value(value_type: type[Any]) -> str:
    parts = [f"### {value_type.__name__}", *_docstring(value_type)]
    if is_dataclass(value_type):
        parts.extend(_table(fields_of(value_type)))
    else:
        parts.append("One of " + ", ".join(f"`{member.value}`" for member in value_type) + ".")
    return "\n\n".join(parts)


def _docstring(documented: type[Any]) -> Iterator[str]:
    """The class's own docstring, if any; Python writes one for a dataclass that has none."""
    own = documented.__dict__.get("__doc__")
    if own and not own.startswith(f"{documented.__name__}("):
        yield inspect.cleandoc(own)


def _table(event_fields: tuple[EventField, ...]) -> Iterator[str]:
    if event_fields:
        rows = [
            f"| `{field.name}` | {field.type_text}{', *personal*' if field.personal else ''} |"
            for field in event_fields
        ]
        yield "\n".join(["| field | type |", "|---|---|", *rows])


def _posting_lines(event_type: type[Event]) -> Iterator[str]:
    """The postings of a sample event, with the field's name in place of each sample amount."""
    if not issubclass(event_type, MoneyEvent):
        return
    choices = {
        field.name: list(value)
        for field in fields_of(event_type)
        for value in field.values
        if issubclass(value, Enum) and field.type_text == value.__name__
    }
    lines = ["Postings:", ""]
    for chosen in product(*choices.values()):
        given = dict(zip(choices, chosen, strict=True))
        sample = _sample(event_type, given)
        amounts = {
            getattr(sample, field.name): field.name
            for field in fields_of(event_type)
            if field.type_text == "int"
        }
        where = "".join(f" ({name} `{value.value}`)" for name, value in given.items())
        lines.extend(
            f"- `{amounts[posting.amount_micro]}` from `{_general(posting.source)}`"
            f" to `{_general(posting.destination)}`{where}"
            for posting in postings(cast("AccountEvent", sample))
        )
    yield "\n".join(lines)


_SAMPLE_ID = UUID(int=0)


def _general(account: str) -> str:
    return account.replace(str(_SAMPLE_ID), "<user_id>")


def _sample(sampled: type[Any], given: dict[str, Any]) -> Any:
    """An instance in which no two integers are equal, so that a posting tells its field."""
    hints = get_type_hints(sampled)
    return sampled(
        **{
            field.name: given[field.name]
            if field.name in given
            else _sample_value(hints[field.name], number)
            for number, field in enumerate(fields(sampled), start=1)
        }
    )


def _sample_value(hint: Any, number: int) -> Any:
    if isinstance(hint, UnionType):
        return None
    if get_origin(hint) is tuple:
        return ()
    if is_dataclass(hint):
        return _sample(cast("type[Any]", hint), {})
    if issubclass(hint, Enum):
        return next(iter(hint))
    plain = {
        int: number,
        str: "",
        bool: False,
        float: 0.0,
        datetime: datetime(2026, 1, 1, tzinfo=UTC),
    }
    return plain.get(hint, _SAMPLE_ID)


def _values_of(kind: StreamKind[Any]) -> Iterator[type[Any]]:
    for event_type in kind.event_types:
        for field in fields_of(event_type):
            for value in field.values:
                yield value
                if is_dataclass(value):
                    yield from (inner for part in fields_of(value) for inner in part.values)


def _values_in(hint: Any) -> Iterator[type[Any]]:
    if isinstance(hint, type) and (is_dataclass(hint) or issubclass(hint, Enum)):
        yield hint
    for part in get_args(hint):
        yield from _values_in(part)


def _is_personal(hint: Any) -> bool:
    return any(
        isinstance(part, PersonalMark) or _is_personal(part)
        for part in (*get_args(hint), *getattr(hint, "__metadata__", ()))
    )


def main() -> None:
    EVENTS_PAGE.write_text(render_event_docs(), encoding="utf-8")
    print(f"wrote {EVENTS_PAGE}")


if __name__ == "__main__":
    main()
