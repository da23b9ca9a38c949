"""The operator's settings of the engine."""

from dataclasses import dataclass
from pathlib import Path

# The longest that a running stream should wait for somebody else's prompt. The default chunk sizes
# keep to it on the machine they were measured on; the log names a model that does not.
STALL_MS_MAX = 200


@dataclass(frozen=True, kw_only=True)
class OnnxEngineSettings:
    """models_dir: one folder per prepared model.
    provider: "auto" takes the provider that the model's graph was made for; "cpu" and "cuda" ask
        for one. require_provider: refuse a model that was made for another, see `providers`.
    threads: of one step of the model; None means the physical cores that this process may use.
    context_tokens_max: prompt and answer together; bounds a row of the KV cache (37 kB a token
        for the 270M model).
    rows_max: answers of one model at once; fewer if their rows would exceed kv_bytes_max.
    rows_each_max: rows of one owner; 0 means all but one, so that nobody has every row.
    queue_max: requests of one model that wait for a row. When it is full, a request gets
        EngineBusy or replaces one of the owner who has the most. queue_each_max: of one owner.
    generation_timeout_s: for requests without a timeout of their own; the wait counts.
    prefill_chunk_tokens: tokens of a prompt in one step, hence how long streams and cancellations
        may have to wait; 0 chooses by the model's size.
    kv_bytes_max: of the KV cache of one model.
    kept_bytes_max: of the prefix cache of one model.
    memory_bytes_max: of all loaded models, estimated; 0 means three quarters of the machine's.
    gpu_bytes_max: the same for the GPU's memory; 0 means nine tenths of it.
    cuda_graphs: capture decode steps on CUDA once and replay them.
    on_device: keep KV cache and logits on the device, see `device_session`; None means on CUDA
        alone. On the CPU it changes no answer, and only tests and measurements use it.
    spin_us: how long threads wait in a busy loop, see `host_session.open_session`.
    verify_files: compare every file's hash when a model is loaded (0.2 s for 300 MB).
    """

    models_dir: Path
    provider: str = "auto"
    require_provider: bool = False
    threads: int | None = None
    context_tokens_max: int = 2048
    rows_max: int = 16
    rows_each_max: int = 0
    queue_max: int = 64
    queue_each_max: int = 16
    generation_timeout_s: float = 300.0
    prefill_chunk_tokens: int = 0
    kv_bytes_max: int = 2 * 1024**3
    kept_bytes_max: int = 128 * 1024**2
    memory_bytes_max: int = 0
    gpu_bytes_max: int = 0
    cuda_graphs: bool = False
    on_device: bool | None = None
    spin_us: int = 200
    verify_files: bool = True
    close_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if self.provider not in ("auto", "cpu", "cuda"):
            raise ValueError(f"provider is {self.provider!r}; it must be auto, cpu or cuda")
        for name in ("context_tokens_max", "queue_max", "queue_each_max", "rows_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in (
            "rows_each_max",
            "prefill_chunk_tokens",
            "kept_bytes_max",
            "memory_bytes_max",
            "gpu_bytes_max",
            "spin_us",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
