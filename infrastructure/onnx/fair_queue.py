"""A queue in which owners take turns."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar


class Owned(Protocol):
    @property
    def owner(self) -> str: ...


T = TypeVar("T", bound=Owned)


class FairQueue(Generic[T]):
    """Next is the owner with the fewest running; among equals, who was served longest ago. One
    owner's things keep their order. Not thread-safe."""

    def __init__(self) -> None:
        # In the order of turns: who has just been served stands last.
        self._owners: OrderedDict[str, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._owners.values()))

    def __iter__(self) -> Iterator[T]:
        for things in self._owners.values():
            yield from things

    def put(self, thing: T) -> None:
        self._owners.setdefault(thing.owner, deque()).append(thing)

    def take(self, running: Callable[[str], int]) -> T:
        """running: how much of an owner is being served now. Raises IndexError when empty."""
        if not self._owners:
            raise IndexError("nobody waits")
        owner = min(self._owners, key=running)
        things = self._owners[owner]
        thing = things.popleft()
        self._owners.move_to_end(owner)
        if not things:
            del self._owners[owner]
        return thing

    def remove(self, thing: T) -> bool:
        """False when it does not wait here."""
        things = self._owners.get(thing.owner, deque())
        if thing not in things:
            return False
        things.remove(thing)
        if not things:
            del self._owners[thing.owner]
        return True
