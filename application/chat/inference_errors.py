"""Why a language model does not answer.

InferenceError
├── UnknownModel
├── ModelUnavailable
│   └── ModelTooLarge
├── PromptTooLong
├── EngineBusy
│   └── OwnerBusy
├── GenerationTimedOut
├── NumbersNotFinite
└── OutOfMemory
"""


class InferenceError(Exception):
    """Generation is impossible or broke off. The caller releases the hold, unless some of the text
    was delivered."""


class UnknownModel(InferenceError):
    """No model of that name stands in the catalogue."""


class ModelUnavailable(InferenceError):
    """The model cannot answer now; the text says what to do."""


class ModelTooLarge(ModelUnavailable):
    """The model was not loaded, because it does not fit into the memory that it may use. of: the
    memory's name, for the text."""

    def __init__(
        self,
        title: str,
        *,
        needed_bytes: int,
        free_bytes: int,
        remedy: str,
        of: str = "memory",
    ) -> None:
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes
        super().__init__(
            f"{title} needs about {needed_bytes / 1e6:,.0f} MB of {of}, and"
            f" {free_bytes / 1e6:,.0f} MB can be had: {remedy}"
        )


class PromptTooLong(InferenceError):
    """The last turn alone, with the template, does not fit the model's window."""

    def __init__(self, *, prompt_tokens: int, prompt_tokens_max: int) -> None:
        self.prompt_tokens = prompt_tokens
        self.prompt_tokens_max = prompt_tokens_max
        super().__init__(
            f"the message takes {prompt_tokens} tokens, the model's window leaves room for"
            f" {prompt_tokens_max}"
        )


class EngineBusy(InferenceError):
    """There is no place in the bounded queue; try again after `retry_after_s` seconds."""

    def __init__(self, *, retry_after_s: int, why: str = "the queue is full") -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"{why}, try again in {retry_after_s} s")


class OwnerBusy(EngineBusy):
    """This owner has as many requests running and waiting as one owner may; the free places are for
    others."""


class GenerationTimedOut(InferenceError):
    """The answer was not complete when its time was over."""

    def __init__(self, *, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        super().__init__(f"the answer took longer than {timeout_s:g} s")


class NumbersNotFinite(InferenceError):
    """The model's output holds NaN or infinity; its files are damaged or the hardware is."""

    def __init__(self) -> None:
        super().__init__(
            "the model produced numbers that are not finite; prepare it anew if this stays so"
        )


class OutOfMemory(InferenceError):
    """A step of the model found no memory. Others may still be answered."""

    def __init__(self) -> None:
        super().__init__(
            "there is not enough memory for this answer now; try again, or a shorter message"
        )
