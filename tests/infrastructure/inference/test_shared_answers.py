"""One generation serves everybody who asks the same, at once and for a while afterwards."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import pytest

from application.chat.inference import (
    Completion,
    Delta,
    GenerationRequest,
    Role,
    Sampling,
    Turn,
    WorkMeter,
)
from application.chat.inference_errors import InferenceError
from infrastructure.inference.shared_answers import SharedAnswers, SharingLimits
from tests.support.scripted_engine import MODEL, Pause, ScriptedEngine, script

LIMITS = SharingLimits(bytes_max=10_000, ttl_s=60, across_users=False)
GREEDY, SEEDED, FREE = Sampling(), Sampling(temperature=1, seed=5), Sampling(temperature=1)
Stream = AsyncGenerator[Delta | Completion, None]


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Shared:
    def __init__(self, limits: SharingLimits = LIMITS) -> None:
        self.engine = ScriptedEngine()
        self.clock = Clock()
        self.answers = SharedAnswers(self.engine, limits, clock=self.clock)

    async def request(
        self, text: str = "Hello", sampling: Sampling = GREEDY, owner: str = "ada"
    ) -> GenerationRequest:
        turns = [Turn(role=Role.USER, content=text)]
        prompt = await self.answers.prepare_prompt(MODEL, turns, completion_tokens_wanted=9)
        return GenerationRequest(prompt=prompt, max_tokens=9, sampling=sampling, owner=owner)

    async def ask(self, request: GenerationRequest) -> Completion:
        text = ""
        async for item in self.answers.stream(request):
            if isinstance(item, Completion):
                assert item.text == text.strip(), "the deltas make up the answer"
                return item
            text += item.text
        raise AssertionError("no completion")


@pytest.mark.parametrize(("sampling", "generated"), [(GREEDY, 1), (SEEDED, 1), (FREE, 2)])
async def test_only_what_is_deterministic_is_answered_again_without_the_engine(
    sampling: Sampling, generated: int
) -> None:
    shared = Shared()
    request = await shared.request(sampling=sampling)
    first, second = await shared.ask(request), await shared.ask(request)

    assert len(shared.engine.requests) == generated
    assert not first.cached
    assert second.cached == (generated == 1)
    assert (second.text, second.completion_tokens) == (first.text, first.completion_tokens)


async def test_whatever_would_change_the_answer_is_generated_by_itself() -> None:
    shared = Shared()
    request = await shared.request()
    others = [
        await shared.request("Hello you"),
        await shared.request(sampling=SEEDED),
        await shared.request(sampling=replace(SEEDED, seed=6)),
        await shared.request(sampling=replace(GREEDY, repetition_penalty=1.3)),
        await shared.request(owner="bob"),
        replace(request, max_tokens=2),
        replace(request, stop=("is",)),
    ]
    for one in [request, *others]:
        assert not (await shared.ask(one)).cached
    # Greedy decoding draws nothing, so the seed and the nucleus change nothing.
    same = replace(request, sampling=replace(GREEDY, seed=9, top_p=0.5, top_k=3))
    assert (await shared.ask(same)).cached


async def test_answers_serve_other_users_only_where_that_is_set() -> None:
    shared = Shared(replace(LIMITS, across_users=True))
    await shared.ask(await shared.request())

    assert (await shared.ask(await shared.request(owner="bob"))).cached


async def test_an_answer_is_forgotten_with_time_and_with_too_many_others() -> None:
    shared = Shared(replace(LIMITS, bytes_max=3_000))
    first = await shared.request("first")
    await shared.ask(first)
    shared.clock.now_s = 59
    assert (await shared.ask(first)).cached
    shared.clock.now_s = 61
    assert not (await shared.ask(first)).cached
    for name in ("second", "third"):
        await shared.ask(await shared.request(name))
    assert not (await shared.ask(first)).cached
    await shared.answers.release_memory()
    assert not (await shared.ask(first)).cached


async def test_requests_at_once_share_one_generation_which_counts_for_one_of_them() -> None:
    shared, pause = Shared(), Pause()
    shared.engine.script_next(script("one ", pause, "two"))
    request = await shared.request()
    first = asyncio.create_task(shared.ask(request))
    await pause.reached()
    others = [asyncio.create_task(shared.ask(request)) for _ in range(3)]
    await asyncio.sleep(0)
    pause.go_on()
    completions = await asyncio.gather(first, *others)

    assert len(shared.engine.requests) == 1
    assert [completion.cached for completion in completions] == [False, True, True, True]
    assert {completion.text for completion in completions} == {"one two"}


async def test_when_the_first_leaves_the_generation_counts_for_the_next() -> None:
    shared, pause = Shared(), Pause()
    shared.engine.script_next(script("one ", pause, "two"))
    request = await shared.request()
    async with aclosing(as_generator(shared, request)) as leaving:
        await anext(leaving)
        await pause.reached()
        staying = asyncio.create_task(shared.ask(request))
        await asyncio.sleep(0)
    pause.go_on()

    assert not (await staying).cached
    assert shared.engine.stopped_early == 0


async def test_when_everybody_has_left_the_generation_stops_and_nothing_is_kept() -> None:
    shared, pause = Shared(), Pause()
    shared.engine.script_next(script("one ", pause, "two"))
    request = await shared.request()
    async with aclosing(as_generator(shared, request)) as leaving:
        await anext(leaving)
        await pause.reached()

    assert (shared.engine.running, shared.engine.stopped_early) == (0, 1)
    assert not (await shared.ask(request)).cached


async def test_what_is_kept_or_under_way_is_known_to_need_no_generation() -> None:
    shared, pause = Shared(), Pause()
    shared.engine.script_next(script("one ", pause, "two"))
    request, other = await shared.request(), await shared.request("Other")
    drawn = await shared.request(sampling=FREE)
    assert not shared.answers.is_answered(request)
    asking = asyncio.create_task(shared.ask(request))
    await pause.reached()
    assert shared.answers.is_answered(request), "under way"
    pause.go_on()
    await asking
    await shared.ask(drawn)
    assert shared.answers.is_answered(request), "kept"
    assert not shared.answers.is_answered(other)
    assert not shared.answers.is_answered(drawn)
    shared.clock.now_s = 61
    assert not shared.answers.is_answered(request)


async def test_the_work_counts_for_the_one_who_caused_it_or_the_last_who_left() -> None:
    shared, pause = Shared(), Pause()
    shared.engine.script_next(script("one ", pause, "two"))
    request = await shared.request()
    meters = [WorkMeter() for _ in range(3)]
    streams = [shared.answers.stream(request, meter) for meter in meters]
    for stream in streams:
        await anext(stream)
    for stream in streams:
        assert isinstance(stream, AsyncGenerator)
        await stream.aclose()
    read = len(request.prompt.token_ids)
    assert [meter.prompt_tokens_read for meter in meters] == [0, 0, read]

    meters = [WorkMeter() for _ in range(2)]
    for meter in meters:
        async for _ in shared.answers.stream(request, meter):
            pass
    assert [meter.prompt_tokens_read for meter in meters] == [read, 0]


async def test_an_error_is_everybodys_and_is_not_kept() -> None:
    shared, pause = Shared(), Pause()
    shared.engine.script_next(script("one ", pause, InferenceError("out of memory")))
    request = await shared.request()
    asking = [asyncio.create_task(shared.ask(request)) for _ in range(2)]
    await pause.reached()
    pause.go_on()
    for one in asking:
        with pytest.raises(InferenceError, match="out of memory"):
            await one

    assert not (await shared.ask(request)).cached


def as_generator(shared: Shared, request: GenerationRequest) -> Stream:
    stream = shared.answers.stream(request)
    assert isinstance(stream, AsyncGenerator)
    return stream
