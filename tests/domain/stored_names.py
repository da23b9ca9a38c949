"""What history holds: the names under which events are stored, and the form of each.

`stored_names.json` is the record, and it only grows. `python -m tests.domain.stored_names` writes
what is new in the code into it, and refuses when the code no longer reads what was recorded.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypedDict, get_args, get_origin, get_type_hints

from application.ledger.streams import ALL_KINDS
from domain.events import Event

RECORD = Path(__file__).with_name("stored_names.json")
COMMAND = "python -m tests.domain.stored_names"
_HEADER_FIELDS = ("originator_id", "originator_version", "timestamp")


class Form(TypedDict):
    version: int
    fields: dict[str, str]


class Record(TypedDict):
    """events: by stored name. enums: the values of each. snapshots: by kind of stream."""

    events: dict[str, Form]
    enums: dict[str, list[str]]
    snapshots: dict[str, Form]


def recorded() -> Record:
    record: Record = json.loads(RECORD.read_text(encoding="utf-8"))
    return record


def in_code() -> Record:
    enums: dict[str, list[str]] = {}
    events: dict[str, Form] = {}
    snapshots: dict[str, Form] = {}
    for kind in ALL_KINDS:
        for event_type in kind.event_types:
            events[event_type.TOPIC] = {
                "version": event_type.class_version,
                "fields": _fields(event_type, enums),
            }
        snapshots[kind.name] = {
            "version": kind.state_version,
            "fields": _fields(kind.state_type, enums),
        }
    return {"events": events, "enums": enums, "snapshots": snapshots}


def what_history_loses(old: Record, new: Record) -> Iterator[str]:
    """A sentence for every way in which the code no longer reads what was recorded."""
    for name, form in old["events"].items():
        if name not in new["events"]:
            yield (
                f"The stored name {name!r} disappeared, but history holds it: keep its class, or"
                f" give the renamed class TOPIC = {name!r}."
            )
            continue
        yield from _changed_without_version(name, form, new["events"][name], "class_version")
    for name, values in old["enums"].items():
        for value in values:
            if value not in new["enums"].get(name, ()):
                yield f"The value {value!r} of {name} disappeared, but history holds it."
    for name, form in old["snapshots"].items():
        if name in new["snapshots"]:
            yield from _changed_without_version(
                f"snapshot of {name}", form, new["snapshots"][name], "state_version"
            )


def upcasts_missing(event_types: tuple[type[Event], ...]) -> Iterator[str]:
    for event_type in event_types:
        for version in range(1, event_type.class_version):
            method = f"upcast_v{version}_v{version + 1}"
            if not callable(getattr(event_type, method, None)):
                yield f"{event_type.__name__} has class_version {version + 1} but no {method}."


def _changed_without_version(name: str, old: Form, new: Form, counter: str) -> Iterator[str]:
    if new["version"] < old["version"]:
        yield f"{name!r} went back from {counter} {old['version']} to {new['version']}."
    elif new["version"] == old["version"] and new["fields"] != old["fields"]:
        changed = sorted(dict(old["fields"].items() ^ new["fields"].items()))
        yield (
            f"The fields {changed} of {name!r} changed without a new {counter}: raise it to"
            f" {old['version'] + 1}, and say how the older form is read."
        )


def _fields(described: type[Any], enums: dict[str, list[str]]) -> dict[str, str]:
    hints = get_type_hints(described, include_extras=True)
    return {
        field.name: _form_text(hints[field.name], enums)
        for field in fields(described)
        if field.name not in _HEADER_FIELDS
    }


def _form_text(hint: Any, enums: dict[str, list[str]]) -> str:
    """A type by its stored form: a dataclass within is written out, so that a change to it is a
    change to every event that holds it."""
    if get_origin(hint) is Annotated:
        return _form_text(get_args(hint)[0], enums)
    if isinstance(hint, UnionType):
        parts = ["none" if part is NoneType else _form_text(part, enums) for part in get_args(hint)]
        return " or ".join(sorted(parts))
    if get_origin(hint) is tuple:
        return f"list of {_form_text(get_args(hint)[0], enums)}"
    if is_dataclass(hint):
        assert isinstance(hint, type)
        inner = ", ".join(f"{name}: {text}" for name, text in _fields(hint, enums).items())
        return f"({inner})"
    if issubclass(hint, Enum):
        enums[hint.__name__] = [member.value for member in hint]
    return str(hint.__name__)


def main() -> None:
    new = in_code()
    if RECORD.exists():
        losses = list(what_history_loses(recorded(), new))
        if losses:
            sys.exit("\n".join(losses))
    RECORD.write_text(json.dumps(new, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
