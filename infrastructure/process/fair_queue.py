"""A queue in which owners take turns."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar


class Owned(Protocol):
    @property
    def owner(self) -> str: ...


T = TypeVar("T", bound=Owned)


class FairQueue(Generic[T]):
    """The next owner is the one with the fewest things running, and among equals the one who was
    served longest ago. One owner's things keep their order. Not thread-safe.

    A caller that bounds the queue asks `busiest` who has most, and takes that owner's `newest`
    out."""

    def __init__(self) -> None:
        # In the order of turns: the owner who has just been served is last.
        self._owners: OrderedDict[str, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._owners.values()))

    def __iter__(self) -> Iterator[T]:
        for things in self._owners.values():
            yield from things

    def put(self, thing: T) -> None:
        self._owners.setdefault(thing.owner, deque()).append(thing)

    def of(self, owner: str) -> int:
        """How many things of one owner wait."""
        return len(self._owners.get(owner, ()))

    def busiest(self, running: Callable[[str], int]) -> tuple[str, int]:
        """Among owners who wait: the one with most things running and waiting, and how many those
        are. Raises ValueError when nobody waits."""
        owner = max(self._owners, key=lambda owner: running(owner) + self.of(owner))
        return owner, running(owner) + self.of(owner)

    def newest(self, owner: str) -> T:
        """Remove and return what this owner put last."""
        thing = self._owners[owner].pop()
        if not self._owners[owner]:
            del self._owners[owner]
        return thing

    def take(self, running: Callable[[str], int]) -> T:
        """Remove and return the next thing. running: how many of an owner's are being served now.
        Raises IndexError when empty."""
        if not self._owners:
            raise IndexError("nobody waits")
        owner = min(self._owners, key=running)
        things = self._owners[owner]
        thing = things.popleft()
        self._owners.move_to_end(owner)
        if not things:
            del self._owners[owner]
        return thing

    def take_within(self, running: Callable[[str], int], *, each_max: int) -> T | None:
        """As `take`, but only for owners with fewer than each_max running. None when no such owner
        waits."""
        fewest = min(map(running, self._owners), default=each_max)
        return self.take(running) if fewest < each_max else None

    def remove(self, thing: T) -> bool:
        """Whether the thing was waiting here, and now is not."""
        things = self._owners.get(thing.owner, deque())
        if thing not in things:
            return False
        things.remove(thing)
        if not things:
            del self._owners[thing.owner]
        return True
