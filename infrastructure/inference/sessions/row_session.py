"""What a batch needs of a session: rows of keys and values, steps over them, and next tokens.

Two implementations: `session.HostSession` keeps rows and logits in the host's memory,
`device_session.DeviceSession` keeps them where the model runs. Which of them a model has is
decided once, in `loading`.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from infrastructure.inference.sessions.host_session import SessionLimits
from infrastructure.inference.sessions.sampling import Sampler


class Block(Protocol):
    """Keys and values of some tokens of a row, taken out of it."""

    @property
    def nbytes(self) -> int: ...


class KvCache(Protocol):
    """Keys and values of all rows. For one thread only."""

    @property
    def rows(self) -> int: ...

    def move(self, source: int, target: int, tokens: int) -> None:
        """Put a row of so many tokens in the place of another one, whose content is lost."""
        ...

    def read(self, row: int, first: int, last: int) -> Any:
        """A copy of tokens first to last, as a `Block`."""
        ...

    def write(self, row: int, first: int, block: Any) -> None:
        """Put a block that was read at the same place of another row, or of this one, back."""
        ...

    def trim(self, row: int, tokens: int) -> None:
        """Sliding layers of a row of so many tokens need not hold what they no longer see."""
        ...

    def release(self, row: int) -> None:
        """The row holds nothing any more."""
        ...


class RowSession(Protocol):
    """Rows 0, 1, … each a sequence of its own. For one thread only.

    Steps return the logits after them, float32[rows, vocab], in a form that only `pick` need
    understand and that the next step overwrites. rows_together: whether rows are decoded in one
    step, which they are if no row's logits depend on the others; see `check_row_independence`.
    """

    rows_together: bool
    vocab_size: int

    @property
    def kv_cache(self) -> KvCache: ...

    @property
    def limits(self) -> SessionLimits: ...

    def prefill(self, row: int, ids: Sequence[int], first: int, last: int) -> Any:
        """Append tokens first to last of a prompt whose first tokens stand in the row."""
        ...

    def decode(self, token_ids: Sequence[int], lengths: Sequence[int]) -> Any:
        """Append one token to each of the first rows. lengths: tokens in each row before."""
        ...

    def decode_row(self, row: int, token_id: int, length: int) -> Any:
        """One row of `decode` by itself."""
        ...

    def pick(self, logits: Any, samplers: Sequence[Sampler]) -> list[int | None]:
        """The next token of each row of a step's logits, which may be changed for it; None where
        the largest logit is not a number."""
        ...

    def check_row_independence(self, token: int, length: int) -> bool:
        """Find out whether row 0, which holds so many tokens, gets the same bits after one more
        token in company as alone, and decode from now on so that it does. False where rows have
        to be decoded one by one for it, which costs what a batch would have gained."""
        ...
