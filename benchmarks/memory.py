"""How much memory the API process takes."""

import time
from pathlib import Path

from benchmarks.client import CREDITS_ADDED, Client
from benchmarks.figures import Figure, Goal
from benchmarks.running import Memory, Service

WITHOUT_MODEL_MB_MAX = Goal(bound=250)
WITH_MODEL_MB_MAX = Goal(bound=1300)
_ANSWERS = 10
# Until the allocator has given back what it is going to.
_SETTLE_S = 2.0
_STORY = "Tell me more about the sea, and about the people who live beside it. " * 12


def without_model(folder: Path) -> list[Figure]:
    """`--mode api --skip-init`, no model anywhere."""
    used = folder / "no-model"
    used.mkdir()
    (used / "models").mkdir()
    service = Service(folder=used, skip_init=True, env={"MODELS_DIR": str(used / "models")})
    try:
        # Without a model it never becomes ready; being alive is enough here.
        service.start(ready="/livez")
        client = Client(service.port)
        client.sign_up("someone")
        for _ in range(50):
            client.call("GET", "/billing/balance")
            client.call("GET", "/chat/history")
        client.close()
        time.sleep(_SETTLE_S)
        memory = service.memory()
    finally:
        service.stop()
    conditions = "API process (--mode api), 100 requests served, no model prepared"
    return [
        _figure("Memory of the API without a model", memory, conditions, WITHOUT_MODEL_MB_MAX),
        _children(memory),
    ]


def with_model(service: Service) -> list[Figure]:
    """After ten answers, some of them in a conversation that has outgrown the window."""
    client = Client(service.port)
    client.sign_up("talker", credits_added=CREDITS_ADDED)
    conversation: str | None = None
    prompt_tokens: list[int] = []
    for _ in range(_ANSWERS):
        body = {"message": _STORY, "max_tokens": 100, "temperature": 0}
        if conversation is not None:
            body["conversation_id"] = conversation
        answer = client.call("POST", "/chat/message", body).body
        conversation = answer["conversation_id"]
        prompt_tokens.append(answer["usage"]["prompt_tokens"])
    client.close()
    time.sleep(_SETTLE_S)
    memory = service.memory()
    conditions = (
        f"API process, Gemma 3 270M int8, {_ANSWERS} answers in one conversation,"
        f" prompts up to {max(prompt_tokens):,} tokens; peak {memory.peak:,.0f} MB"
    )
    return [_figure("Memory of the API with the 270M", memory, conditions, WITH_MODEL_MB_MAX)]


def _figure(what: str, memory: Memory, conditions: str, goal: Goal) -> Figure:
    return Figure(what=what, unit="MB", value=memory.rss, conditions=conditions, goal=goal)


def _children(memory: Memory) -> Figure:
    parts = ", ".join(f"{name} {used:.0f}" for name, used in sorted(memory.children.items()))
    return Figure(
        what="Memory of the embedded servers",
        unit="MB",
        value=sum(memory.children.values()),
        conditions=f"unique set size: {parts}",
    )
