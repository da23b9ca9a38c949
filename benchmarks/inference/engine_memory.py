"""Memory and time for converting a model, loading it and answering eight long prompts at once, each
in a process of its own so that nothing else is counted.

    python -m benchmarks.inference.engine_memory convert|load|rows|kept MODELS_DIR

prints one of these as JSON.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from application.chat.inference import Completion, GenerationRequest, PreparedPrompt, Sampling
from benchmarks.figures import Figure, Goal, of_repeats
from infrastructure.inference.models.engine import OnnxEngine, OnnxEngineSettings
from infrastructure.inference.prepared.manifest import WEIGHTS_FILE
from infrastructure.inference.preparing.prepare import prepare_model

_MODEL = "gemma3-270m"
_ROWS = 8
_PROMPT_TOKENS, _ROW_TOKENS = 900, 1024
_REPEATS = 3
_TIMEOUT_S = 300
_MB = 1e6
# Tokens that end no text and no turn, so that every row grows to its full length.
_ENDLESS = Sampling(temperature=0, logit_bias=((1, -1000.0), (106, -1000.0)))


def engine_memory(models_dir: Path) -> list[Figure]:
    weights_mb = (models_dir / _MODEL / WEIGHTS_FILE).stat().st_size / _MB
    with TemporaryDirectory(dir=models_dir) as temporary:
        converted = [_child("convert", Path(temporary) / str(number)) for number in range(_REPEATS)]
    loaded = [_child("load", models_dir) for _ in range(_REPEATS)]
    rows = [_child("rows", models_dir) for _ in range(_REPEATS)]
    kept = [_child("kept", models_dir) for _ in range(_REPEATS)]
    how = f"{_ROWS} rows of {_ROW_TOKENS:,} tokens, {_PROMPT_TOKENS} of them prompts; whole process"
    return [
        Figure(
            what="Weights file of the 270M in int8",
            unit="MB",
            value=weights_mb,
            conditions="as prepared",
            goal=Goal(bound=300),
        ),
        of_repeats(
            "Conversion from GGUF",
            "s",
            [one["seconds"] for one in converted],
            "prepare in a new folder, package installed, checksums and tokenizer included",
            Goal(bound=6),
        ),
        Figure(
            what="Conversion from GGUF, peak memory",
            unit="MB",
            value=median(one["peak_mb"] for one in converted),
            conditions="the same process, Python and libraries included",
            goal=Goal(bound=500),
        ),
        of_repeats(
            "Loading the model",
            "s",
            [one["seconds"] for one in loaded],
            "file in the system's cache, hashes checked; until it can answer",
            Goal(bound=1),
        ),
        Figure(
            what="Peak memory of the engine, nothing kept",
            unit="MB",
            value=median(one["peak_mb"] for one in rows),
            conditions=how,
            goal=Goal(bound=750),
        ),
        Figure(
            what="Peak memory of the engine, 128 MB of prompts kept",
            unit="MB",
            value=median(one["peak_mb"] for one in kept),
            conditions=f"the same with the setting as it is; idle again {kept[0]['idle_mb']:,.0f}",
        ),
    ]


def _child(part: str, models_dir: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.inference.engine_memory", part, str(models_dir)]
    # The arguments are fixed above, and no shell reads them.
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _convert(models_dir: Path) -> dict[str, float]:
    began = time.perf_counter()
    prepare_model(_MODEL, models_dir, lambda _fraction, _sentence: None)
    return {"seconds": time.perf_counter() - began, "peak_mb": _peak_mb()}


def _load(models_dir: Path) -> dict[str, float]:
    async def seconds() -> float:
        engine = OnnxEngine(OnnxEngineSettings(models_dir=models_dir))
        try:
            began = time.perf_counter()
            await engine.preload(_MODEL)
            return time.perf_counter() - began
        finally:
            await engine.close()

    return {"seconds": asyncio.run(seconds())}


def _rows(models_dir: Path) -> dict[str, float]:
    return asyncio.run(_peak(OnnxEngineSettings(models_dir=models_dir, kept_bytes_max=0)))


def _kept(models_dir: Path) -> dict[str, float]:
    return asyncio.run(_peak(OnnxEngineSettings(models_dir=models_dir)))


async def _peak(settings: OnnxEngineSettings) -> dict[str, float]:
    engine = OnnxEngine(settings)
    try:
        await engine.preload(_MODEL)
        _forget_peak()
        await asyncio.gather(*(_full_row(engine, row) for row in range(_ROWS)))
        return {"peak_mb": _peak_mb(), "idle_mb": _status_mb("VmRSS")}
    finally:
        await engine.close()


async def _full_row(engine: OnnxEngine, row: int) -> None:
    """Greedy; every row has its own prompt and its own owner."""
    tokens = _ROW_TOKENS - _PROMPT_TOKENS
    ids = (2, *(1000 + 5000 * row + place for place in range(_PROMPT_TOKENS - 1)))
    prompt = PreparedPrompt(model=_MODEL, token_ids=ids, turns_dropped=0, max_tokens=tokens)
    request = GenerationRequest(prompt=prompt, max_tokens=tokens, sampling=_ENDLESS, owner=str(row))
    async for item in engine.stream(request):
        if isinstance(item, Completion) and item.completion_tokens != tokens:
            raise RuntimeError(f"row {row} ended after {item.completion_tokens} tokens")


def _peak_mb() -> float:
    return _status_mb("VmHWM")


def _forget_peak() -> None:
    """Resets the peak of this process's memory (Linux, proc(5))."""
    Path("/proc/self/clear_refs").write_text("5")


def _status_mb(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / _MB
    raise RuntimeError(f"the system does not tell {name}")


def main(arguments: Sequence[str]) -> int:
    parts: dict[str, Callable[[Path], dict[str, float]]] = {
        "convert": _convert,
        "load": _load,
        "rows": _rows,
        "kept": _kept,
    }
    if len(arguments) != 2 or arguments[0] not in parts:
        print(
            "usage: python -m benchmarks.inference.engine_memory convert|load|rows|kept MODELS_DIR"
        )
        return 2
    print(json.dumps(parts[arguments[0]](Path(arguments[1]))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
