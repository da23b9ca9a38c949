"""What a batch needs of a session: a KV cache with rows, steps over them, and next tokens.

There are two implementations. `host_session.HostSession` keeps KV cache and logits in the host's
memory, `device_session.DeviceSession` in the memory of the model's device. `models.loading` chooses
when it loads a model.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from infrastructure.inference.sessions.host_session import SessionLimits
from infrastructure.inference.sessions.sampling import Sampler


class KvBlock(Protocol):
    """A copy of the keys and values of some tokens of a row."""

    @property
    def nbytes(self) -> int: ...


class KvCache(Protocol):
    """Keys and values of all batch rows. For one thread only."""

    @property
    def rows(self) -> int: ...

    def move(self, source: int, target: int, tokens: int) -> None:
        """Move the `tokens` tokens of row `source` to row `target`, whose content is lost."""
        ...

    def read(self, row: int, first: int, last: int) -> Any:
        """A copy of the tokens from `first` up to `last`, as a `KvBlock`."""
        ...

    def write(self, row: int, first: int, block: Any) -> None:
        """Write a block to a row. first: the token at which it was read."""
        ...

    def trim(self, row: int, tokens: int) -> None:
        """Free what sliding layers no longer see, now that the row has `tokens` tokens."""
        ...

    def release(self, row: int) -> None:
        """Free the row."""
        ...


class RowSession(Protocol):
    """Batch rows 0, 1, …, each with a sequence of its own. For one thread only.

    Steps return float32[rows, vocab] logits in a form that only `pick` need understand. The next
    step overwrites them. rows_together: whether rows are decoded in one step. They are if no row's
    logits depend on the other rows, see `check_row_independence`.
    """

    rows_together: bool
    vocab_size: int

    @property
    def kv_cache(self) -> KvCache: ...

    @property
    def limits(self) -> SessionLimits: ...

    def prefill(self, row: int, ids: Sequence[int], first: int, last: int) -> Any:
        """Append the tokens from `first` up to `last` of a prompt to its row."""
        ...

    def decode(self, token_ids: Sequence[int], lengths: Sequence[int]) -> Any:
        """Append one token to each of the first rows. lengths: tokens in each row before that."""
        ...

    def decode_row(self, row: int, token_id: int, length: int) -> Any:
        """One row of `decode` by itself."""
        ...

    def pick(self, logits: Any, samplers: Sequence[Sampler]) -> list[int | None]:
        """The next token of each row of a step's logits, which may be changed in place; None if the
        largest logit is not finite."""
        ...

    def check_row_independence(self, token: int, length: int) -> bool:
        """Find out whether row 0, which has `length` tokens, gets the same logits bit for bit with
        other rows as alone, and decode from now on in a way that ensures it. False if only steps
        of single rows do, which gives up what batching gains."""
        ...
