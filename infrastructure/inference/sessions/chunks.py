"""Where prompts are cut for prefilling."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, kw_only=True)
class Chunks:
    """The cuts depend on the tokens alone. The last bits of a kernel's results change with the
    number of tokens in a step and with the number before them, and quantised activations make the
    difference visible. So an answer can be repeated only if its prompt is always cut alike.

    chunk_tokens: the most tokens in a chunk.
    header_ids: what most prompts begin with (the template's header). There is a cut at its end, so
        that all these prompts can share its keys and values.
    """

    chunk_tokens: int
    header_ids: tuple[int, ...] = ()

    def cuts(self, ids: Sequence[int]) -> list[int]:
        """The bounds of the chunks: 0, the end of each, and last the number of tokens."""
        size, header = self.chunk_tokens, self._header(ids)
        return [*range(0, header, size), *range(header, len(ids), size), len(ids)]

    def whole(self, ids: Sequence[int]) -> list[tuple[int, int]]:
        """The chunks (first, last) that every prompt has which begins with these tokens."""
        cuts, header = self.cuts(ids), self._header(ids)
        chunks = list(pairwise(cuts))
        if len(ids) != header and (len(ids) - header) % self.chunk_tokens:
            chunks.pop()
        return chunks

    def _header(self, ids: Sequence[int]) -> int:
        length = len(self.header_ids)
        return length if tuple(ids[:length]) == self.header_ids else 0
