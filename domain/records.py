"""Frozen records, made and changed on the path of every command.

A frozen dataclass sets each field through `object.__setattr__`, and `dataclasses.replace` looks at
every field's definition: together they took a third of a command's processor time. What a record
is stays what `dataclasses` says; only how its fields get there differs.
"""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar, dataclass_transform

R = TypeVar("R")

_new = object.__new__
_set = object.__setattr__


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[R]) -> type[R]:
    """`@dataclass(frozen=True, kw_only=True)` whose records are made in less than half the time.
    Fields have plain defaults or none."""
    made = dataclass(frozen=True, kw_only=True)(cls)
    made.__init__ = _quick_init(made)  # type: ignore[method-assign]
    return made


def changed(record: R, **fields: object) -> R:
    """`dataclasses.replace` for records that check nothing when they are made."""
    before = record.__dict__
    attributes = before | fields
    assert len(attributes) == len(before), "only fields that are there are changed"
    copy = _new(record.__class__)
    _set(copy, "__dict__", attributes)
    return copy


def _quick_init(cls: type[Any]) -> Callable[..., None]:
    """An `__init__` as `dataclasses` generates it, by text, but straight into `__dict__`."""
    parameters, lines = ["self"], ["own = self.__dict__"]
    defaults: dict[str, object] = {}
    for field in fields(cls):
        assert field.init, "every field is given or has a plain default"
        assert field.default_factory is MISSING, "every field is given or has a plain default"
        if len(parameters) == 1:
            parameters.append("*")
        if field.default is MISSING:
            parameters.append(field.name)
        else:
            defaults[f"default_{field.name}"] = field.default
            parameters.append(f"{field.name}=default_{field.name}")
        lines.append(f"own[{field.name!r}] = {field.name}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    made: dict[str, Any] = {}
    text = f"def __init__({', '.join(parameters)}):\n  " + "\n  ".join(lines)
    exec(text, defaults, made)  # noqa: S102 - text made of field names alone, as dataclasses does
    init: Callable[..., None] = made["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__annotations__ = {**cls.__init__.__annotations__}
    return init
