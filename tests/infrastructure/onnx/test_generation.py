"""One answer at a time, on a tiny model: counts, ends, cancellation, broken numbers."""

from dataclasses import replace
from pathlib import Path

import pytest

from application.inference import (
    Completion,
    Delta,
    FinishReason,
    GenerationRequest,
    InferenceError,
    PreparedPrompt,
    Sampling,
)
from infrastructure.onnx.generation import GenerationCancelled, LoadedModel, Watch, generate
from infrastructure.onnx.tokenizer import IncrementalText
from tests.infrastructure.onnx.tiny import (
    TinyWeights,
    prepare_tiny,
    tiny_session,
    tiny_tokenizer,
)

ENDLESS = Watch(cancelled=lambda: False, timeout_s=60)


def _model(models_dir: Path, *, chunk_tokens: int = 128) -> LoadedModel:
    folder = models_dir / "gemma3-270m"
    return LoadedModel(
        name="gemma3-270m",
        session=tiny_session(folder, chunk_tokens=chunk_tokens),
        tokenizer=tiny_tokenizer(folder),
        stops=("\nUser:",),
        manifest_hash="00",
        context_tokens=1024,
        runs_on="CPU",
    )


@pytest.fixture(scope="module")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models_dir = tmp_path_factory.mktemp("models")
    prepare_tiny(models_dir)
    return models_dir


def _request(
    model: LoadedModel,
    text: str = "Hello there",
    *,
    max_tokens: int = 40,
    sampling: Sampling | None = None,
    stop: tuple[str, ...] = (),
) -> GenerationRequest:
    ids = (model.tokenizer.bos_id, *model.tokenizer.encode(text))
    room = model.context_tokens - len(ids)
    prompt = PreparedPrompt(model=model.name, token_ids=ids, turns_dropped=0, max_tokens=room)
    return GenerationRequest(
        prompt=prompt, max_tokens=max_tokens, sampling=sampling or Sampling(), stop=stop
    )


def _run(
    model: LoadedModel, request: GenerationRequest, watch: Watch = ENDLESS
) -> tuple[list[Delta], Completion]:
    deltas: list[Delta] = []
    completion = generate(model, request, deltas.append, watch)
    return deltas, completion


def _without_times(completion: Completion) -> Completion:
    return replace(completion, prefill_ms=0, decode_ms=0)


def test_deltas_join_to_the_answer_and_count_its_tokens(tiny_models: Path) -> None:
    model = _model(tiny_models)
    deltas, completion = _run(model, _request(model))
    assert "".join(delta.text for delta in deltas) == completion.text
    counts = [delta.completion_tokens for delta in deltas]
    assert counts[:40] == list(range(1, 41))
    assert completion.completion_tokens == 40
    assert completion.finish_reason is FinishReason.LENGTH
    assert completion.prompt_tokens == len("Hello there") + 1


def test_an_answer_ends_where_the_window_ends(tiny_models: Path) -> None:
    model = _model(tiny_models)
    request = _request(model, "x" * 1000, max_tokens=500)
    completion = _run(model, request)[1]
    assert completion.completion_tokens == 1024 - 1001
    assert completion.finish_reason is FinishReason.LENGTH


def test_a_stop_string_ends_the_answer_before_it(tiny_models: Path) -> None:
    model = _model(tiny_models)
    whole = _run(model, _request(model))[1].text
    stop = whole[5:8]
    deltas, completion = _run(model, _request(model, stop=(stop,)))
    assert completion.text == whole[: whole.find(stop)].strip()
    assert completion.finish_reason is FinishReason.STOP
    assert completion.completion_tokens < 40
    assert "".join(delta.text for delta in deltas) == completion.text


def test_the_same_seed_gives_the_same_answer_and_another_seed_another(tiny_models: Path) -> None:
    model = _model(tiny_models)
    sampled = Sampling(temperature=1.5, seed=3)
    first, again = (_run(model, _request(model, sampling=sampled))[1] for _ in range(2))
    assert _without_times(first) == _without_times(again)
    other = _run(model, _request(model, sampling=replace(sampled, seed=4)))[1]
    assert other.text != first.text
    assert other.seed == 4


def test_cancelling_stops_within_one_step_and_leaves_the_next_answer_as_it_was(
    tiny_models: Path,
) -> None:
    model = _model(tiny_models, chunk_tokens=4)
    request = _request(model)
    expected = _without_times(_run(model, request)[1])
    for steps in (0, 1, 2, 3, 10, 25):
        checks = iter(range(10_000))
        watch = Watch(cancelled=lambda: next(checks) >= steps, timeout_s=60)  # noqa: B023
        deltas: list[Delta] = []
        with pytest.raises(GenerationCancelled):
            generate(model, request, deltas.append, watch)
        assert next(checks) == steps + 1, "no step followed the one that saw the cancellation"
        assert _without_times(_run(model, request)[1]) == expected


def test_an_answer_that_takes_too_long_is_an_inference_error(tiny_models: Path) -> None:
    model = _model(tiny_models)
    with pytest.raises(InferenceError, match="longer than 0 s"):
        _run(model, _request(model), Watch(cancelled=lambda: False, timeout_s=0))


def test_weights_that_are_not_numbers_are_an_inference_error(tmp_path: Path) -> None:
    prepare_tiny(tmp_path, weights=TinyWeights(broken=True))
    model = _model(tmp_path)
    with pytest.raises(InferenceError, match="not finite"):
        _run(model, _request(model))


@pytest.mark.parametrize("max_tokens", [0, -5])
def test_no_tokens_wanted_is_an_inference_error(tiny_models: Path, max_tokens: int) -> None:
    model = _model(tiny_models)
    with pytest.raises(InferenceError, match="at least 1"):
        _run(model, _request(model, max_tokens=max_tokens))


def test_a_prompt_beyond_the_window_is_an_inference_error(tiny_models: Path) -> None:
    model = _model(tiny_models)
    ids = (model.tokenizer.bos_id,) * 1024
    prompt = PreparedPrompt(model=model.name, token_ids=ids, turns_dropped=0, max_tokens=5)
    request = GenerationRequest(prompt=prompt, max_tokens=5, sampling=Sampling())
    with pytest.raises(InferenceError, match="window of 1024"):
        _run(model, request)


def test_characters_of_several_bytes_are_never_split(tiny_models: Path) -> None:
    tokenizer = tiny_tokenizer(tiny_models / "gemma3-270m")
    text = "né 😀 日本"
    characters = IncrementalText(tokenizer)
    pieces = [characters.push(token_id) for token_id in tokenizer.encode(text)]
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces)
    assert len(pieces) > len(text)


def test_bytes_that_are_no_character_become_the_replacement_character(tiny_models: Path) -> None:
    tokenizer = tiny_tokenizer(tiny_models / "gemma3-270m")
    half = tokenizer.encode("é")[:1]
    broken, open_end = IncrementalText(tokenizer), IncrementalText(tokenizer)
    assert "".join(map(broken.push, [*half, *tokenizer.encode("a")])) == "\ufffda"
    assert (open_end.push(half[0]), open_end.finish()) == ("", "\ufffd")


def test_control_characters_of_the_model_do_not_reach_the_answer(tiny_models: Path) -> None:
    tokenizer = tiny_tokenizer(tiny_models / "gemma3-270m")
    characters = IncrementalText(tokenizer)
    text = "".join(map(characters.push, tokenizer.encode("a\x00b\x1bc\x7f\td\ne")))
    assert text == "abc\td\ne"
