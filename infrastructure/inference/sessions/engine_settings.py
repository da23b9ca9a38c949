"""What an operator can choose about the engine."""

from dataclasses import dataclass
from pathlib import Path

# How long a running stream may wait for other people's prompts, on the machine that the default
# chunk sizes were measured on; a model that takes longer says so in the log when it is loaded.
STALL_MS_MAX = 200


@dataclass(frozen=True, kw_only=True)
class OnnxEngineSettings:
    """models_dir: one folder per prepared model.
    provider: "auto" takes what the model's graph was made for, "cpu" and "cuda" are wishes;
        require_provider makes a wish that is not granted an error, see `providers`.
    threads: of one step of the model; None takes the physical cores this process may use.
    context_tokens_max: the window, prompt and answer; bounds a row of the key/value slab
        (37 kB a token for the 270M).
    rows_max: answers of one model at once; fewer where their rows would pass kv_bytes_max.
    rows_each_max: of them for one owner; 0 takes all but one, so that nobody has every row.
    queue_max: requests of one model that wait for a row; further ones get EngineBusy, or one of the
        owner who has most gives way. queue_each_max: of them for one owner.
    generation_timeout_s: of requests that name none, waiting included.
    prefill_chunk_tokens: how much of a prompt one step takes, hence how long streams and
        cancellations can wait; 0 goes by the model's size.
    kept_bytes_max: keys and values of earlier prompts that are kept, for each model.
    memory_bytes_max: of all loaded models, estimated; 0 takes three quarters of the machine's.
    gpu_bytes_max: the same of the GPU's memory; 0 takes nine tenths of the GPU's.
    cuda_graphs: capture decoding steps on CUDA once and replay them.
    on_device: keep rows and logits where the model runs, see `device_session`; None does so on
        CUDA alone. On the CPU it changes no answer; tests and measurements ask for it.
    spin_us: how long threads wait in a busy loop; see `session.open_session`.
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
