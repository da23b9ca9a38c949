"""One answer at a time, on a tiny model: counts, ends, cancellation, broken numbers."""

from dataclasses import replace
from pathlib import Path

import pytest

from application.chat.inference import FinishReason, GenerationRequest, PreparedPrompt, Sampling
from application.chat.inference_errors import InferenceError
from infrastructure.inference.answers.generation import LoadedModel
from infrastructure.inference.answers.tokenizer import IncrementalText
from tests.infrastructure.inference.stepping import Stepper, answer_alone, request_of
from tests.infrastructure.inference.tiny import prepare_tiny, tiny_batch, tiny_tokenizer


@pytest.fixture(scope="module")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models_dir = tmp_path_factory.mktemp("models")
    prepare_tiny(models_dir)
    return models_dir


@pytest.fixture(scope="module")
def model(tiny_models: Path) -> LoadedModel:
    return tiny_batch(tiny_models / "gemma3-270m", chunk_tokens=4)


async def test_deltas_join_to_the_answer_and_count_its_tokens(model: LoadedModel) -> None:
    deltas, completion = answer_alone(model, request_of(model))
    assert "".join(delta.text for delta in deltas) == completion.text
    counts = [delta.completion_tokens for delta in deltas]
    assert counts[:40] == list(range(1, 41))
    assert completion.completion_tokens == 40
    assert completion.finish_reason is FinishReason.LENGTH
    assert completion.prompt_tokens == len("Hello there") + 1


async def test_an_answer_ends_where_the_window_ends(model: LoadedModel) -> None:
    request = request_of(model, "x" * 1000, max_tokens=500)
    completion = answer_alone(model, request)[1]
    assert completion.completion_tokens == 1024 - 1001
    assert completion.finish_reason is FinishReason.LENGTH


async def test_a_stop_string_ends_the_answer_before_it(model: LoadedModel) -> None:
    whole = answer_alone(model, request_of(model))[1].text
    stop = whole[5:8]
    deltas, completion = answer_alone(model, request_of(model, stop=(stop,)))
    assert completion.text == whole[: whole.find(stop)].strip()
    assert completion.finish_reason is FinishReason.STOP
    assert completion.completion_tokens < 40
    assert "".join(delta.text for delta in deltas) == completion.text


async def test_the_same_seed_gives_the_same_answer_and_another_seed_another(
    model: LoadedModel,
) -> None:
    sampled = Sampling(temperature=1.5, seed=3)
    first, again = (answer_alone(model, request_of(model, sampling=sampled))[1] for _ in range(2))
    assert first == again
    other = answer_alone(model, request_of(model, sampling=replace(sampled, seed=4)))[1]
    assert other.text != first.text
    assert other.seed == 4


async def test_cancelling_stops_within_one_step_and_leaves_the_next_answer_as_it_was(
    model: LoadedModel,
) -> None:
    request = request_of(model)
    expected = answer_alone(model, request)
    for rounds in (0, 1, 2, 3, 10, 25):
        stepper = Stepper(model)
        asked = stepper.ask(request)
        for _ in range(rounds):
            stepper.round()
        seen = len(asked.items)
        asked.job.cancelled = True
        stepper.round()
        assert len(asked.items) == seen, "no token followed the cancellation"
        assert answer_alone(model, request) == expected


@pytest.mark.parametrize("max_tokens", [0, -5])
async def test_no_tokens_wanted_is_an_inference_error(model: LoadedModel, max_tokens: int) -> None:
    with pytest.raises(InferenceError, match="at least 1"):
        answer_alone(model, request_of(model, max_tokens=max_tokens))


async def test_a_prompt_beyond_the_window_is_an_inference_error(model: LoadedModel) -> None:
    ids = (model.tokenizer.bos_id,) * 1024
    prompt = PreparedPrompt(model=model.name, token_ids=ids, turns_dropped=0, max_tokens=5)
    request = GenerationRequest(prompt=prompt, max_tokens=5, sampling=Sampling())
    with pytest.raises(InferenceError, match="window of 1024"):
        answer_alone(model, request)


def test_characters_of_several_bytes_are_never_split(tiny_models: Path) -> None:
    tokenizer = tiny_tokenizer(tiny_models / "gemma3-270m")
    text = "né 😀 日本"
    characters = IncrementalText(tokenizer)
    pieces = [characters.push(token_id) for token_id in tokenizer.encode(text)]
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces)
    assert len(pieces) > len(text)


def test_bytes_that_never_become_a_character_are_no_text(tiny_models: Path) -> None:
    tokenizer = tiny_tokenizer(tiny_models / "gemma3-270m")
    for character in "é€😀":
        ids = tokenizer.encode(character)
        for cut in range(1, len(ids)):
            characters = IncrementalText(tokenizer)
            begun = "".join(map(characters.push, ids[:cut]))
            went_on = "".join(map(characters.push, tokenizer.encode("a")))
            assert (begun, went_on) == ("", "a")


def test_a_replacement_character_that_the_model_wrote_is_text(tiny_models: Path) -> None:
    tokenizer = tiny_tokenizer(tiny_models / "gemma3-270m")
    characters = IncrementalText(tokenizer)
    assert "".join(map(characters.push, tokenizer.encode("\ufffd"))) == "\ufffd"


def test_control_characters_of_the_model_do_not_reach_the_answer(tiny_models: Path) -> None:
    tokenizer = tiny_tokenizer(tiny_models / "gemma3-270m")
    characters = IncrementalText(tokenizer)
    text = "".join(map(characters.push, tokenizer.encode("a\x00b\x1bc\x7f\td\ne")))
    assert text == "abc\td\ne"
