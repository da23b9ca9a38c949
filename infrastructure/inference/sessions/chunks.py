"""Where prompts are cut for prefilling."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, kw_only=True)
class Chunks:
    """Cuts are a function of the tokens alone. Kernels differ in the last bit by the number of
    tokens in a step and by how many they see, which quantised activations make visible; so an
    answer has the same bits only if its prompt is always cut in the same places.

    chunk_tokens: tokens of a chunk at most.
    header_ids: what most prompts begin with (the template's header). Its end is a cut, so that
        a prompt that goes on from there computes nothing of it.
    """

    chunk_tokens: int
    header_ids: tuple[int, ...] = ()

    def cuts(self, ids: Sequence[int]) -> list[int]:
        """0, the ends of the chunks but the last, and the number of tokens."""
        size, header = self.chunk_tokens, self._header(ids)
        return [*range(0, header, size), *range(header, len(ids), size), len(ids)]

    def whole(self, ids: Sequence[int]) -> list[tuple[int, int]]:
        """First and last of the chunks that any prompt has which goes on from these tokens."""
        cuts, header = self.cuts(ids), self._header(ids)
        chunks = list(pairwise(cuts))
        if len(ids) != header and (len(ids) - header) % self.chunk_tokens:
            chunks.pop()
        return chunks

    def _header(self, ids: Sequence[int]) -> int:
        length = len(self.header_ids)
        return length if tuple(ids[:length]) == self.header_ids else 0
