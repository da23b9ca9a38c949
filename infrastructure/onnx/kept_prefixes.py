"""Keys and values of earlier prompts, kept in memory for prompts that begin alike.

They are kept in blocks of one prefill chunk, each under a hash of all tokens up to its end. A
prompt starts from the longest run of blocks that is there and computes the rest. Blocks are
whole chunks of a prefill, cut where any prompt is cut, so the bits are those of computing it
anew; keys and values of decoding steps, whose last bits differ, are never kept.
"""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise

import numpy as np

from infrastructure.onnx.kv_slab import Array, KvSlab

_KEY_BYTES = 16


class KeptPrefixes:
    """For one thread only. bytes_max 0 keeps nothing.

    shared_ids: what most prompts begin with (the template's header). Blocks within it serve
    everybody; all others serve their owner alone, so that nobody can tell from the time to the
    first token what somebody else has asked.
    """

    def __init__(
        self, *, chunk_tokens: int, bytes_max: int, shared_ids: Sequence[int] = ()
    ) -> None:
        self._chunk_tokens = chunk_tokens
        self._bytes_max = bytes_max
        self._shared_ids = tuple(shared_ids)
        self._blocks: OrderedDict[bytes, Array] = OrderedDict()
        self.bytes_kept = 0

    @property
    def enabled(self) -> bool:
        return self._bytes_max > 0

    def kept_tokens(self, owner: str, ids: Sequence[int]) -> int:
        """Tokens of the prompt that need not be computed; its last token always is."""
        return len(self._found(owner, ids)) * self._chunk_tokens

    def restore(self, owner: str, ids: Sequence[int], slab: KvSlab, row: int) -> int:
        """Copy what is kept into the row; the number of tokens that are there now."""
        found = self._found(owner, ids)
        for place, key in enumerate(found):
            slab.write(row, place * self._chunk_tokens, self._blocks[key])
        self._touch(found)
        return len(found) * self._chunk_tokens

    def keep(self, owner: str, ids: Sequence[int], last: int, slab: KvSlab, row: int) -> None:
        """Keep the block of the row that ends at `last`, if that is where a whole chunk ends."""
        size = slab.values[:, row, :, : self._chunk_tokens].nbytes
        if last % self._chunk_tokens or size > self._bytes_max:
            return
        keys = self._keys(owner, ids[:last])
        if keys[-1] not in self._blocks:
            self._blocks[keys[-1]] = slab.read(row, last - self._chunk_tokens, last)
            self.bytes_kept += size
        self._touch([key for key in keys if key in self._blocks])
        while self.bytes_kept > self._bytes_max:
            _, block = self._blocks.popitem(last=False)
            self.bytes_kept -= block.nbytes

    def clear(self) -> None:
        self._blocks.clear()
        self.bytes_kept = 0

    def _found(self, owner: str, ids: Sequence[int]) -> list[bytes]:
        found: list[bytes] = []
        for key in self._keys(owner, ids[:-1]):
            if key not in self._blocks:
                break
            found.append(key)
        return found

    def _touch(self, keys: Sequence[bytes]) -> None:
        """Beginnings last, so that no block outlives what it continues."""
        for key in reversed(keys):
            self._blocks.move_to_end(key)

    def _keys(self, owner: str, ids: Sequence[int]) -> list[bytes]:
        """One key for each whole chunk of the tokens."""
        keys, digest, private = [], blake2b(digest_size=_KEY_BYTES), False
        for first, last in pairwise(range(0, len(ids) + 1, self._chunk_tokens)):
            if not private and tuple(ids[first:last]) != self._shared_ids[first:last]:
                private = True
                digest.update(b"owner:" + owner.encode())
            digest.update(np.array(ids[first:last], np.int64).tobytes())
            keys.append(digest.copy().digest())
        return keys
