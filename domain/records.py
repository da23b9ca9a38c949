"""What the domain's values are made with: states, commands, and the parts of events."""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

R = TypeVar("R")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[R]) -> type[R]:
    """A frozen dataclass with slots whose fields are given by name.

    `eventsourcing` makes events dataclasses by itself and lets no decorator change them again:
    they are frozen and have no slots, and that their fields are given by name is only checked by
    mypy.
    """
    return dataclass(frozen=True, kw_only=True, slots=True)(cls)
