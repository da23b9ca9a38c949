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
    owner's things keep their order. When there is no place left, the crowd's newest makes room.
    Not thread-safe."""

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

    def of(self, owner: str) -> int:
        """How much of one owner waits."""
        return len(self._owners.get(owner, ()))

    def crowd(self, running: Callable[[str], int]) -> tuple[str, int]:
        """Of those who wait, who has most running and waiting, and how much that is. Raises
        ValueError when nobody waits."""
        owner = max(self._owners, key=lambda owner: running(owner) + self.of(owner))
        return owner, running(owner) + self.of(owner)

    def newest(self, owner: str) -> T:
        """What the owner put last, which then does not wait any more."""
        thing = self._owners[owner].pop()
        if not self._owners[owner]:
            del self._owners[owner]
        return thing

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

    def take_within(self, running: Callable[[str], int], *, each_max: int) -> T | None:
        """As `take`, but nobody gets more than each_max. None when nobody waits who may be
        served."""
        fewest = min(map(running, self._owners), default=each_max)
        return self.take(running) if fewest < each_max else None

    def remove(self, thing: T) -> bool:
        """False when it does not wait here."""
        things = self._owners.get(thing.owner, deque())
        if thing not in things:
            return False
        things.remove(thing)
        if not things:
            del self._owners[thing.owner]
        return True
