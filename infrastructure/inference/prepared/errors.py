"""What can go wrong with a model's files.

    PreparationError            preparing a model is impossible; the text says what to do
    ├── NotEnoughDisk
    ├── SourceUnusable          a folder of weights that a user named does not hold the model
    └── ModelFileDamaged        a prepared file is missing, truncated or altered

Loading turns these into `ModelUnavailable`, so that callers of the engine see only the errors of
its port (application/chat/inference.py).
"""

from pathlib import Path


class PreparationError(Exception):
    """Preparing a model is impossible; the text says what to do."""


class NotEnoughDisk(PreparationError):
    def __init__(self, folder: Path, *, needed_bytes: int, free_bytes: int) -> None:
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes
        super().__init__(
            f"preparing the model needs {needed_bytes / 1e6:.0f} MB in {folder}, but only"
            f" {free_bytes / 1e6:.0f} MB are free: free some space or choose another data folder"
        )


class SourceUnusable(PreparationError):
    """what: a clause that says what is wrong. remedy: a sentence that says what to change."""

    def __init__(self, file: Path, what: str, remedy: str) -> None:
        self.file = file
        super().__init__(f"{file.name} in {file.parent} cannot be used: {what}. {remedy}")


class ModelFileDamaged(PreparationError):
    def __init__(self, file: Path, what: str) -> None:
        self.file = file
        super().__init__(f"{file.name} of the model in {file.parent} cannot be used: {what}")


# ONNX Runtime has no error type for this. Words from the messages of the CPU's allocators, of
# CUDA, and of an arena at its limit.
_NO_MEMORY = ("allocate", "bad_alloc", "out of memory", "smaller than requested bytes")


def is_out_of_memory(error: Exception) -> bool:
    """Whether ONNX Runtime failed because there was not enough memory."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY)
