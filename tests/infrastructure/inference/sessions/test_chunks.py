from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from infrastructure.inference.sessions.chunks import Chunks

CHUNKS = Chunks(chunk_tokens=4, header_ids=(9, 9, 9, 9, 9, 9))


def test_a_prompt_is_cut_at_multiples_of_the_chunk() -> None:
    assert CHUNKS.cuts([1] * 10) == [0, 4, 8, 10]
    assert CHUNKS.whole([1] * 10) == [(0, 4), (4, 8)]
    assert CHUNKS.whole([1] * 8) == [(0, 4), (4, 8)]


def test_the_headers_end_is_a_cut_and_counting_goes_on_from_there() -> None:
    ids = [*CHUNKS.header_ids, 1, 1, 1, 1, 1]
    assert CHUNKS.cuts(ids) == [0, 4, 6, 10, 11]
    assert CHUNKS.whole(ids) == [(0, 4), (4, 6), (6, 10)]
    assert CHUNKS.whole(CHUNKS.header_ids) == [(0, 4), (4, 6)]


def test_half_a_header_is_no_header() -> None:
    assert CHUNKS.cuts([9] * 5) == [0, 4, 5]


tokens = st.lists(st.sampled_from([1, 9]), min_size=1, max_size=30)


@given(tokens, tokens)
def test_what_follows_never_moves_a_whole_chunk(beginning: list[int], rest: list[int]) -> None:
    whole = CHUNKS.whole(beginning)
    assert whole == list(pairwise(CHUNKS.cuts([*beginning, *rest])))[: len(whole)]


@given(tokens)
def test_cuts_begin_at_the_first_token_end_at_the_last_and_grow(ids: list[int]) -> None:
    cuts = CHUNKS.cuts(ids)
    assert (cuts[0], cuts[-1]) == (0, len(ids))
    assert all(0 < last - first <= 4 for first, last in pairwise(cuts))
