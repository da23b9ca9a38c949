import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.inference.answers.answer_text import AnswerText, open_length

STOPS = ("\nUser:", "\nAssistant:")


def _released(pieces: list[str], *stops: str, cut_off: bool = False) -> tuple[list[str], str]:
    answer = AnswerText(STOPS, stops)
    released = [answer.push(piece) for piece in pieces]
    released.append(answer.finish(cut_off=cut_off))
    return released, answer.text


def test_a_stop_string_across_token_borders_ends_the_answer_and_none_of_it_leaks() -> None:
    released, text = _released([" Paris", ".", "\n", "\n", "Us", "er", ":", " more"])
    assert released == ["Paris", ".", "", "", "", "", "", "", ""]
    assert text == "Paris."


def test_the_beginning_of_a_stop_string_that_goes_on_otherwise_is_released() -> None:
    released, text = _released(["One.", "\nUse", " it well."])
    assert released == ["One.", "", "\nUse it well.", ""]
    assert text == "One.\nUse it well."


def test_the_stop_string_that_is_complete_first_counts_in_one_piece_as_in_many() -> None:
    for pieces in (["UsU"], ["U", "s", "U"]):
        assert _released(pieces, "s", "UsU")[1] == "U"


def test_the_earliest_of_several_stop_strings_counts() -> None:
    assert _released(["a STOP b END c"], "END", "STOP")[1] == "a"


def test_an_answer_that_begins_with_a_stop_string_is_empty() -> None:
    assert _released(["\n", "User", ":", "x"])[1] == ""


def test_a_cut_off_answer_drops_the_beginning_of_the_next_turn_but_keeps_other_text() -> None:
    assert _released(["Yes.", "\n\nUse"], cut_off=True)[1] == "Yes."
    assert _released(["Yes.", "\n\nUse"], cut_off=False)[1] == "Yes.\n\nUse"
    assert _released(["banana"], "abc", cut_off=True)[1] == "banana"


def test_white_space_around_the_answer_is_stripped_and_inside_it_is_kept() -> None:
    released, text = _released(["  ", " Hello", " ", " world", " ", "\n"])
    assert released == ["", "Hello", "", "  world", "", "", ""]
    assert text == "Hello  world"


@pytest.mark.parametrize("unseen", ["\u200b", "\ufeff \u2060", "\u200d\ufe0f", "\u3164"])
def test_an_answer_that_nobody_can_see_is_empty(unseen: str) -> None:
    released, text = _released([unseen, "\n", unseen])
    assert (set(released), text) == ({""}, "")


def test_what_nobody_can_see_stays_around_what_is_visible() -> None:
    released, text = _released(["\u200f", "שלום", " ", "❤\ufe0f"])
    assert released == ["", "\u200fשלום", "", " ❤\ufe0f", ""]
    assert text == "\u200fשלום ❤\ufe0f"


def test_empty_stop_strings_are_ignored() -> None:
    assert _released(["abc"], "")[1] == "abc"


def test_the_open_length_is_that_of_the_longest_possible_beginning() -> None:
    assert open_length("x\n", STOPS) == 1
    assert open_length("x\nUser", STOPS) == 5
    assert open_length("ababa", ("abac",)) == 3
    assert open_length("abc", ("abc",)) == 0


@given(
    st.text("aU\nser: ", max_size=60),
    st.lists(st.integers(1, 5), min_size=60, max_size=60),
    st.lists(st.text("aUs\n", max_size=4), max_size=3),
)
def test_however_a_text_is_cut_into_pieces_the_answer_is_the_same(
    text: str, sizes: list[int], stops: list[str]
) -> None:
    pieces, place = [], 0
    for size in sizes:
        pieces.append(text[place : place + size])
        place += size
    released, answer = _released(pieces, *stops)
    found = [
        (text.find(stop) + len(stop), text.find(stop))
        for stop in (*STOPS, *stops)
        if stop and stop in text
    ]
    assert answer == (text[: min(found)[1]] if found else text).strip()
    assert "".join(released) == answer
