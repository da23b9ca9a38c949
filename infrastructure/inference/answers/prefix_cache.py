"""Prefix caching: keys and values of earlier prompts, kept for prompts that begin with the same
tokens.

A block holds one whole prefill chunk, under a hash of all tokens up to its end. A prompt takes the
longest run of blocks that it finds and prefills only what follows. Prompts that begin alike are cut
into the same chunks, so a block has the same bits as a new prefill would give. Keys and values from
decode steps differ in their last bits and are never kept.
"""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from infrastructure.inference.sessions.chunks import Chunks
from infrastructure.inference.sessions.row_session import KvBlock, KvCache

_KEY_BYTES = 16


class _Place(NamedTuple):
    """Which tokens of a prompt a block holds, and the key that it is kept under."""

    first: int
    last: int
    key: bytes


class PrefixCache:
    """For one thread only. bytes_max: 0 keeps nothing.

    Blocks of the template's header serve everybody. All others serve their owner alone; otherwise
    the time to the first token would tell what somebody else has asked.
    """

    def __init__(self, chunks: Chunks, *, bytes_max: int) -> None:
        self._chunks = chunks
        self._bytes_max = bytes_max
        self._blocks: OrderedDict[bytes, KvBlock] = OrderedDict()
        self.bytes_kept = 0

    @property
    def enabled(self) -> bool:
        return self._bytes_max > 0

    def kept_tokens(self, owner: str, ids: Sequence[int]) -> int:
        """How many tokens of the prompt need no prefill. The last one always needs it."""
        found = self._found(owner, ids)
        return found[-1].last if found else 0

    def restore(self, owner: str, ids: Sequence[int], kv_cache: KvCache, row: int) -> int:
        """Copy the kept blocks of the prompt into the row. Returns how many tokens they cover."""
        found = self._found(owner, ids)
        for place in found:
            kv_cache.write(row, place.first, self._blocks[place.key])
        self._touch([place.key for place in found])
        return found[-1].last if found else 0

    def keep(self, owner: str, ids: Sequence[int], last: int, kv_cache: KvCache, row: int) -> None:
        """Keep the row's block that ends before token `last`, if a whole chunk ends there."""
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
        """Mark as used, a prompt's first block last, so that no block outlives its predecessor."""
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
