"""Words: token ids, and texts that say nearly the same."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuner.sources.words import connected, similar_pairs, token_ids, vocabulary_of, words_of


def test_everything_but_letters_and_digits_separates_lower_cased_words() -> None:
    """Punctuation of any script, underscores and line breaks are no part of a word."""
    assert words_of("Is it COVID-19?\na_“new” Étape…") == ("is", "it", "covid", "19", "a", "new", "étape")


def test_vocabulary_holds_words_seen_twice_from_two_on() -> None:
    """Ids follow the first appearance, across texts; a word seen once has none."""
    assert vocabulary_of(["a b", "c B", "c"]) == {"b": 2, "c": 3}


def test_ids_are_padded_on_the_left_and_unknown_words_are_one() -> None:
    """A short text stands at the end of its row, as int64."""
    ids = token_ids("b x c", {"b": 2, "c": 3}, 5)
    assert ids.tolist() == [0, 0, 2, 1, 3]
    assert ids.dtype == np.int64


def test_long_text_keeps_its_last_words() -> None:
    """What does not fit is left out at the beginning."""
    assert token_ids("b x c", {"b": 2, "c": 3}, 2).tolist() == [1, 3]


@settings(max_examples=50)
@given(
    st.lists(st.frozensets(st.sampled_from("abcdefg"), min_size=1), max_size=12),
    st.sampled_from([0.3, 0.5, 0.8, 1]),
)
def test_similar_pairs_are_those_of_the_naive_loop(sets: list[frozenset[str]], threshold: float) -> None:
    """Comparing only sets that share a rare word misses no pair and adds none."""
    naive = {
        (i, j)
        for (i, one), (j, other) in combinations(enumerate(sets), 2)
        if len(one & other) / len(one | other) >= threshold - 1e-9
    }
    assert naive == set(similar_pairs(sets, threshold))


def test_connected_things_share_their_first() -> None:
    """Pairs join through others, in whatever order they come."""
    assert connected(6, [(2, 4), (1, 5), (0, 4)]) == [0, 1, 0, 3, 0, 1]
