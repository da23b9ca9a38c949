"""Keys and values of earlier prompts, kept in memory for prompts that begin alike.

They are kept in blocks of one whole chunk of a prefill, each under a hash of all tokens up to its
end. A prompt starts from the longest run of blocks that is there and computes the rest. Its chunks
are cut where those of any prompt are that begins alike, so the bits are those of computing it anew;
keys and values of decoding steps, whose last bits differ, are never kept.
"""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from infrastructure.inference.sessions.chunks import Chunks
from infrastructure.inference.sessions.row_session import Block, KvCache

_KEY_BYTES = 16


class _Place(NamedTuple):
    """Where in a prompt a block lies, and under which key it is kept."""

    first: int
    last: int
    key: bytes


class PrefixCache:
    """For one thread only. bytes_max 0 keeps nothing.

    Blocks of the header serve everybody; all others serve their owner alone, so that nobody can
    tell from the time to the first token what somebody else has asked.
    """

    def __init__(self, chunks: Chunks, *, bytes_max: int) -> None:
        self._chunks = chunks
        self._bytes_max = bytes_max
        self._blocks: OrderedDict[bytes, Block] = OrderedDict()
        self.bytes_kept = 0

    @property
    def enabled(self) -> bool:
        return self._bytes_max > 0

    def kept_tokens(self, owner: str, ids: Sequence[int]) -> int:
        """Tokens of the prompt that need not be computed; its last token always is."""
        found = self._found(owner, ids)
        return found[-1].last if found else 0

    def restore(self, owner: str, ids: Sequence[int], kv_cache: KvCache, row: int) -> int:
        """Copy what is kept into the row; the number of tokens that are there now."""
        found = self._found(owner, ids)
        for place in found:
            kv_cache.write(row, place.first, self._blocks[place.key])
        self._touch([place.key for place in found])
        return found[-1].last if found else 0

    def keep(self, owner: str, ids: Sequence[int], last: int, kv_cache: KvCache, row: int) -> None:
        """Keep the block of the row that ends at `last`, if that is where a whole chunk ends."""
        places = self._places(owner, ids[:last]) if self.enabled else []
        if not places or places[-1].last != last:
            return
        block = kv_cache.read(row, places[-1].first, last)
        if block.nbytes > self._bytes_max:
            return
        if places[-1].key not in self._blocks:
            self._blocks[places[-1].key] = block
            self.bytes_kept += block.nbytes
        self._touch([place.key for place in places if place.key in self._blocks])
        while self.bytes_kept > self._bytes_max:
            _, block = self._blocks.popitem(last=False)
            self.bytes_kept -= block.nbytes

    def clear(self) -> None:
        self._blocks.clear()
        self.bytes_kept = 0

    def _found(self, owner: str, ids: Sequence[int]) -> list[_Place]:
        found = []
        for place in self._places(owner, ids[:-1]):
            if place.key not in self._blocks:
                break
            found.append(place)
        return found

    def _touch(self, keys: Sequence[bytes]) -> None:
        """Beginnings last, so that no block outlives what it continues."""
        for key in reversed(keys):
            self._blocks.move_to_end(key)

    def _places(self, owner: str, ids: Sequence[int]) -> list[_Place]:
        """One for each whole chunk of the tokens."""
        places, digest, private = [], blake2b(digest_size=_KEY_BYTES), False
        header = self._chunks.header_ids
        for first, last in self._chunks.whole(ids):
            if not private and tuple(ids[first:last]) != header[first:last]:
                private = True
                digest.update(b"owner:" + owner.encode())
            digest.update(np.array(ids[first:last], np.int64).tobytes())
            places.append(_Place(first, last, digest.copy().digest()))
        return places
