"""What the service adds to the model's time: all of a message but prefill and decode."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from application.chat.inference import Completion, GenerationRequest, Role, Sampling, Turn
from benchmarks.client import CREDITS_ADDED, Client
from benchmarks.figures import Figure, percentile
from benchmarks.running import Service
from infrastructure.inference.models.engine import OnnxEngine, OnnxEngineSettings

_MODEL = "gemma3-270m"
_TOKENS = 8
_USERS = 4
_WARM_UP = 10
_QUESTIONS = (
    "What is a tree?",
    "Name a river.",
    "How do birds fly?",
    "Why is the sky blue?",
    "Who wrote Hamlet?",
)


def api_overhead(service: Service, *, messages: int) -> tuple[list[Figure], float]:
    """The figures, and the median of the engine's own time in milliseconds."""
    client = Client(service.port)
    tokens = [client.sign_up(f"asker{n}", credits_added=CREDITS_ADDED) for n in range(_USERS)]
    overhead_ms: list[float] = []
    engine_ms: list[float] = []
    stages: dict[str, list[float]] = {"prepare": [], "hold": [], "settle": [], "other": []}
    cpu_before_s = 0.0
    for number in range(-_WARM_UP, messages):
        client.token = tokens[number % _USERS]
        if number == 0:
            cpu_before_s = service.cpu_s()
        body = {"message": _QUESTIONS[number % 5], "max_tokens": _TOKENS, "temperature": 0}
        reply = client.call("POST", "/chat/message", body)
        if number < 0:
            continue
        spent = server_timing(reply.headers["server-timing"])
        engine = spent["prefill"] + spent["decode"]
        engine_ms.append(engine)
        overhead_ms.append(reply.elapsed_ms - engine)
        commits = spent["prepare"] + spent["hold"] + spent["settle"]
        for stage in ("prepare", "hold", "settle"):
            stages[stage].append(spent[stage])
        stages["other"].append(reply.elapsed_ms - engine - commits)
    cpu_ms = (service.cpu_s() - cpu_before_s) / messages * 1000
    client.close()
    parts = ", ".join(f"{stage} {median(spent):.1f}" for stage, spent in stages.items())
    conditions = (
        f"{messages} messages of {_TOKENS} tokens, one client, over the engine's own"
        f" {median(engine_ms):.0f} ms in the same request; medians in ms: {parts};"
        f" {cpu_ms:.0f} ms of processor time a message with the model's"
    )
    return [
        _overhead("p50", percentile(overhead_ms, 50), conditions, overhead_ms),
        _overhead("p99", percentile(overhead_ms, 99), "the same messages", None),
    ], median(engine_ms)


def engine_alone(models_dir: Path, in_service_ms: float, *, messages: int) -> Figure:
    """The same prompts on the engine in this process, without a service around it."""
    alone_ms = asyncio.run(_alone(models_dir, messages))
    return Figure(
        what="Engine's time inside the service over alone",
        unit="x",
        value=in_service_ms / median(alone_ms),
        conditions=(
            f"the same prompts without a service: median {median(alone_ms):.0f} ms"
            f" of {messages}, [{min(alone_ms):.0f}–{max(alone_ms):.0f}]"
        ),
    )


async def _alone(models_dir: Path, messages: int) -> list[float]:
    engine = OnnxEngine(OnnxEngineSettings(models_dir=models_dir))
    spent_ms: list[float] = []
    try:
        for number in range(-_WARM_UP, messages):
            turns = [Turn(role=Role.USER, content=_QUESTIONS[number % 5])]
            prompt = await engine.prepare_prompt(_MODEL, turns, completion_tokens_wanted=_TOKENS)
            request = GenerationRequest(
                prompt=prompt, max_tokens=_TOKENS, sampling=Sampling(temperature=0)
            )
            async for item in engine.stream(request):
                if isinstance(item, Completion) and number >= 0:
                    spent_ms.append(item.prefill_ms + item.decode_ms)
    finally:
        await engine.close()
    return spent_ms


def server_timing(header: str) -> dict[str, float]:
    """Durations in milliseconds by name (https://www.w3.org/TR/server-timing/)."""
    entries = (entry.split(";dur=") for entry in header.split(", "))
    return {name: float(duration) for name, duration in entries}


def _overhead(which: str, value: float, conditions: str, samples: Sequence[float] | None) -> Figure:
    return Figure(
        what=f"API overhead over generation, {which}",
        unit="ms",
        value=value,
        low=min(samples) if samples else None,
        high=max(samples) if samples else None,
        conditions=conditions,
    )
