"""Tokens per second of the real model at batch 1, beside what the memory allows."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np

from application.inference import Completion, GenerationRequest, Role, Sampling, Turn
from benchmarks.figures import Figure, of_repeats
from infrastructure.onnx.engine import OnnxEngine, OnnxEngineSettings
from infrastructure.onnx.loading import usable_cores
from infrastructure.onnx.names import WEIGHTS_FILE
from infrastructure.onnx.prepare import prepare_model

_MODEL = "gemma3-270m"
_TOKENS = 128
_REPEATS = 9
_CHUNK_BYTES = 256 * 1024 * 1024
_QUESTION = "Write a long story about a lighthouse keeper and the sea."
_LONG = "The sea is wide and the ships on it are small. " * 32


def prepared_models(folder: Path) -> Path:
    """The folder with the model in it, made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    prepare_model(_MODEL, folder, lambda _fraction, _sentence: None)
    return folder


def decode_speed(models_dir: Path) -> list[Figure]:
    bytes_per_s = read_bandwidth()
    weights_bytes = (models_dir / _MODEL / WEIGHTS_FILE).stat().st_size
    limit = bytes_per_s / weights_bytes
    decoded, prefilled = asyncio.run(_measure(models_dir))
    threads = usable_cores()
    return [
        Figure(
            what="Floor: memory read bandwidth",
            unit="GB/s",
            value=bytes_per_s / 1e9,
            conditions=f"sums over {_CHUNK_BYTES >> 20} MB by {threads} threads each; best of 10",
        ),
        of_repeats(
            "Decode, batch 1",
            "tokens/s",
            decoded,
            f"270M int8, greedy, {_TOKENS} tokens, {threads} threads; the bandwidth allows"
            f" {limit:.0f}, as {weights_bytes / 1e6:.0f} MB are read for each token",
        ),
        Figure(
            what="Decode, share of the bandwidth limit",
            unit="%",
            value=median(decoded) / limit * 100,
            conditions="the two lines above",
        ),
        of_repeats("Prefill, batch 1", "tokens/s", prefilled, "about 400 new tokens"),
    ]


def read_bandwidth() -> float:
    """Bytes a second that all cores together read from memory."""
    threads = usable_cores()
    chunks = [np.ones(_CHUNK_BYTES // 8, np.int64) for _ in range(threads)]
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(10):
            began = time.perf_counter()
            list(pool.map(np.sum, chunks))
            best = max(best, threads * _CHUNK_BYTES / (time.perf_counter() - began))
    return best


async def _measure(models_dir: Path) -> tuple[list[float], list[float]]:
    engine = OnnxEngine(OnnxEngineSettings(models_dir=models_dir))
    decoded, prefilled = [], []
    try:
        for number in range(_REPEATS):
            done = await _answer(engine, _QUESTION, _TOKENS)
            # The first token comes out of the prefill.
            decoded.append((done.completion_tokens - 1) / done.decode_ms * 1000)
            # A new beginning each time, so that nothing of the prompt before is kept.
            before = await _answer(engine, "Hi", 1)
            long = await _answer(engine, f"{number}. {_LONG}", 1)
            prefilled.append((long.prompt_tokens - before.prompt_tokens) / long.prefill_ms * 1000)
    finally:
        await engine.close()
    return decoded, prefilled


async def _answer(engine: OnnxEngine, question: str, tokens: int) -> Completion:
    turns = [Turn(role=Role.USER, content=question)]
    prompt = await engine.prepare_prompt(_MODEL, turns, completion_tokens_wanted=tokens)
    request = GenerationRequest(prompt=prompt, max_tokens=tokens, sampling=Sampling(temperature=0))
    async for item in engine.stream(request):
        if isinstance(item, Completion):
            return item
    raise RuntimeError("the engine ended without a completion")
