"""The prompt of instruction-tuned models: turns between control tokens that no text can forge."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.chat.inference import PreparedPrompt, Role, Turn
from application.chat.inference_errors import InferenceError, PromptTooLong
from infrastructure.inference.answers.tokenizer import GemmaTokenizer
from infrastructure.inference.answers.turns_template import TurnsTemplate
from infrastructure.inference.prepared.errors import ModelFileDamaged
from infrastructure.inference.prepared.manifest import TOKENIZER_FILE
from tests.infrastructure.inference.tiny import BOS_ID, SPECIAL, STOP_IDS, write_tiny_tokenizer

START, END = SPECIAL.index("<start_of_turn>"), SPECIAL.index("<end_of_turn>")
# Tokens of a user's turn beside its text, by the tiny tokenizer.
AROUND_USER = len("SuserNEN")
OPENING = len("SmodelN")


def _load(folder: Path) -> GemmaTokenizer:
    return GemmaTokenizer.load(folder / TOKENIZER_FILE, bos_id=BOS_ID, stop_ids=STOP_IDS)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> GemmaTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tiny_tokenizer(folder / TOKENIZER_FILE)
    return _load(folder)


@pytest.fixture(scope="module")
def careless(tmp_path_factory: pytest.TempPathFactory) -> GemmaTokenizer:
    """A tokenizer whose file does not mark control tokens as special."""
    folder = tmp_path_factory.mktemp("careless")
    write_tiny_tokenizer(folder / TOKENIZER_FILE)
    file = folder / TOKENIZER_FILE
    said = file.read_text()
    assert '"special": true' in said
    file.write_text(said.replace('"special": true', '"special": false'))
    return _load(folder)


def _shown(tokenizer: GemmaTokenizer, ids: Sequence[int]) -> str:
    """The prompt with control tokens as names in angle brackets, which no text here has."""
    names = {BOS_ID: "⟨bos⟩", START: "⟨start⟩", END: "⟨end⟩", 1: "⟨eos⟩"}
    return "".join(names.get(i) or tokenizer.piece(i).decode("utf-8", "replace") for i in ids)


def _turns(*said: tuple[str, str]) -> list[Turn]:
    roles = {"u": Role.USER, "a": Role.ASSISTANT, "s": Role.SYSTEM}
    return [Turn(role=roles[role], content=content) for role, content in said]


def _prepare(
    tokenizer: GemmaTokenizer, *said: tuple[str, str], window: int = 1000, wanted: int = 1
) -> PreparedPrompt:
    template = TurnsTemplate(tokenizer, context_tokens=window)
    return template.prepare("gemma3-1b", _turns(*said), completion_tokens_wanted=wanted)


def test_turns_stand_between_control_tokens_and_end_with_the_models_open_turn(
    tokenizer: GemmaTokenizer,
) -> None:
    prompt = _prepare(tokenizer, ("u", "Hi "), ("a", "Hello."), ("u", "How\nare you?"))
    assert _shown(tokenizer, prompt.token_ids) == (
        "⟨bos⟩⟨start⟩user\nHi⟨end⟩\n⟨start⟩model\nHello.⟨end⟩\n"
        "⟨start⟩user\nHow\nare you?⟨end⟩\n⟨start⟩model\n"
    )
    assert prompt.turns_dropped == 0
    assert len(prompt.token_ids) + prompt.max_tokens == 1000


def test_notes_of_the_system_open_the_first_users_turn_wherever_they_stood(
    tokenizer: GemmaTokenizer,
) -> None:
    prompt = _prepare(tokenizer, ("s", "Be kind."), ("u", "Hi"), ("s", "Be brief."), ("u", "Well"))
    assert _shown(tokenizer, prompt.token_ids) == (
        "⟨bos⟩⟨start⟩user\nBe kind.\n\nBe brief.\n\nHi⟨end⟩\n⟨start⟩user\nWell⟨end⟩\n⟨start⟩model\n"
    )


def test_notes_before_an_answer_without_its_question_get_a_turn_of_their_own(
    tokenizer: GemmaTokenizer,
) -> None:
    prompt = _prepare(tokenizer, ("s", "Note."), ("a", "Welcome!"), ("u", "Hi"))
    assert _shown(tokenizer, prompt.token_ids).startswith(
        "⟨bos⟩⟨start⟩user\nNote.\n\n⟨end⟩\n⟨start⟩model\nWelcome!⟨end⟩\n"
    )


def test_the_oldest_turns_are_dropped_whole_and_what_is_left_begins_with_a_user(
    tokenizer: GemmaTokenizer,
) -> None:
    said = [("u", "a" * 40), ("a", "b" * 40), ("u", "c" * 40), ("a", "d" * 40), ("u", "last")]
    whole = len(_prepare(tokenizer, *said).token_ids)
    prompt = _prepare(tokenizer, *said, window=whole)
    assert prompt.turns_dropped == 2, "one token too many drops the question and its answer"
    shown = _shown(tokenizer, prompt.token_ids)
    assert shown.startswith(f"⟨bos⟩⟨start⟩user\n{'c' * 40}⟨end⟩")
    assert _prepare(tokenizer, *said, window=whole + 1).turns_dropped == 0
    assert _prepare(tokenizer, *said, window=whole, wanted=10_000).turns_dropped == 4


@pytest.mark.parametrize("notes", [(), (("s", "Be kind."),)])
@pytest.mark.parametrize("window", range(60, 300, 7))
def test_an_answer_never_stays_without_its_question(
    tokenizer: GemmaTokenizer, window: int, notes: tuple[tuple[str, str], ...]
) -> None:
    said = [turn for n in range(4) for turn in (("u", f"{n} " + "q" * 40), ("a", f"to {n}"))]
    prompt = _prepare(tokenizer, *notes, *said, ("u", "last"), window=window)
    shown = _shown(tokenizer, prompt.token_ids)
    kept = [n for n in range(4) if f"{n} qqq" in shown]
    assert [n for n in range(4) if f"to {n}" in shown] == kept
    assert kept == list(range(4))[4 - len(kept) :], "the newest stay"
    assert prompt.turns_dropped == 2 * (4 - len(kept))


def test_notes_outlive_older_turns(tokenizer: GemmaTokenizer) -> None:
    prompt = _prepare(tokenizer, ("s", "Be kind."), ("u", "a" * 60), ("u", "last"), window=70)
    assert "Be kind.\n\nlast⟨end⟩" in _shown(tokenizer, prompt.token_ids)
    assert prompt.turns_dropped == 1


def test_a_last_turn_that_does_not_fit_is_refused_with_both_numbers(
    tokenizer: GemmaTokenizer,
) -> None:
    window, text = 60, 60 - 1 - AROUND_USER - OPENING - 1
    assert _prepare(tokenizer, ("u", "x" * text), window=window).max_tokens == 1
    with pytest.raises(PromptTooLong) as caught:
        _prepare(tokenizer, ("u", "x" * (text + 1)), window=window)
    found = caught.value
    assert (found.prompt_tokens, found.prompt_tokens_max) == (
        text + 1 + AROUND_USER,
        text + AROUND_USER,
    )


def test_a_message_of_ten_megabytes_is_refused_without_being_tokenised_whole(
    tokenizer: GemmaTokenizer,
) -> None:
    with pytest.raises(PromptTooLong):
        _prepare(tokenizer, ("u", "long words " * 1_000_000), window=60)


def test_no_turns_at_all_are_an_inference_error(tokenizer: GemmaTokenizer) -> None:
    with pytest.raises(InferenceError, match="at least one turn"):
        _prepare(tokenizer)


@pytest.mark.parametrize("kind", ["tokenizer", "careless"])
@given(
    said=st.lists(
        st.sampled_from(["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "model\n", "a", " "])
    ).map("".join)
)
def test_control_tokens_written_in_a_message_stay_text(
    request: pytest.FixtureRequest, kind: str, said: str
) -> None:
    tokenizer: GemmaTokenizer = request.getfixturevalue(kind)
    prompt = _prepare(tokenizer, ("u", said), ("a", said), ("u", "end"))
    shown = _shown(tokenizer, prompt.token_ids)
    assert [list(prompt.token_ids).count(i) for i in (BOS_ID, START, END, 1)] == [1, 4, 3, 0]
    assert shown.count(f"\n{said.strip()}⟨end⟩") >= 2


def test_a_tokenizer_without_turns_is_refused(tmp_path: Path) -> None:
    file = tmp_path / TOKENIZER_FILE
    write_tiny_tokenizer(file)
    file.write_text(file.read_text().replace("<start_of_turn>", "<other>"))
    with pytest.raises(ModelFileDamaged, match="lacks the control tokens of turns"):
        TurnsTemplate(_load(tmp_path), context_tokens=100)
