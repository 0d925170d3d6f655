"""Batches that cannot teach are joined to others, within bounds."""

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuner.samplers.batch import TOGETHER, Batch, Draft, compares, that_teach


def drafts(count: int) -> Iterator[Draft]:
    """Yield so many drafts of one anchor, whose row is its number."""
    return (Draft(np.array([number]), np.array([number])) for number in range(count))


def make(draft: Draft) -> Batch:
    """Return a batch of a draft in which nothing is related."""
    nothing = np.zeros((len(draft.anchors), len(draft.rows)), dtype=np.bool_)
    return Batch(np.unique(draft.rows), draft.anchors, nothing, nothing)


def dealt(count: int, teachers: Iterable[int]) -> list[list[int]]:
    """Return the anchors of each batch, of so many drafts of one anchor, where a batch teaches by its teachers."""
    able = set(teachers)
    batches = that_teach(drafts(count), make, lambda batch: bool(able & set(batch.anchors.tolist())))
    return [sorted(batch.anchors.tolist()) for batch in batches]


def test_a_batch_that_cannot_teach_goes_into_the_next_or_the_last_one() -> None:
    """0 and 1 wait for 2, and 5 and 6, at the end, join 4; what teaches by itself stays alone."""
    assert dealt(7, [2, 3, 4]) == [[0, 1, 2], [3], [4, 5, 6]]


def test_the_only_teacher_takes_all_that_is_left() -> None:
    """At the start, in the middle or at the end."""
    assert [dealt(4, [teacher]) for teacher in (0, 2, 3)] == [[[0, 1, 2, 3]]] * 3


def test_nothing_that_teaches_is_no_batch() -> None:
    """However many there are, and if there are none."""
    assert dealt(0, []) == dealt(100, []) == []


def test_a_teacher_at_the_very_end_comes_with_each_portion() -> None:
    """Of nine drafts, the last alone teaches: two times four wait for it, and it comes in three batches."""
    assert dealt(9, [8]) == [[0, 1, 2, 3, 8], [4, 5, 6, 7, 8], [8]]


def test_a_teacher_at_the_start_comes_again_at_the_end() -> None:
    """Portions for which no later batch teaches take the last that did."""
    assert dealt(10, [0]) == [[0, 1, 2, 3, 4], [0, 5, 6, 7, 8], [0, 9]]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60), st.sets(st.integers(0, 59)))
def test_all_come_and_teach_within_bounds(count: int, teachers: set[int]) -> None:
    """Nobody is left out if anybody teaches, every batch teaches, and none is endless."""
    batches = dealt(count, teachers)
    able = teachers & set(range(count))
    assert set().union(*batches) == (set(range(count)) if able else set())
    assert all(able & set(batch) for batch in batches)
    assert all(len(batch) <= 2 * TOGETHER for batch in batches)
    assert len(batches) <= count


def test_drafts_are_not_read_ahead() -> None:
    """One batch is held back, and no more: memory does not grow with the epoch."""
    source = drafts(10)
    next(that_teach(source, make, lambda batch: True))
    assert len(list(source)) == 10 - 2


def test_an_anchor_of_both_comes_once_and_keeps_what_was_mined_for_it() -> None:
    """Joined, anchors stay in order with their mined rows beside them."""
    one = Draft(np.array([7, 3]), np.array([70, 30]), np.array([[1], [2]]))
    other = Draft(np.array([3, 5]), np.array([30, 50]), np.array([[2], [-1]]))
    joined = one.joined(other)
    assert joined.anchors.tolist() == [7, 3, 5]
    assert joined.mined is not None
    assert joined.mined.tolist() == [[1], [2], [-1]]
    assert set(joined.rows.tolist()) == {70, 30, 50}


@pytest.mark.parametrize(("positive", "negative", "expected"), [(0, 0, True), (0, 1, False)])
def test_a_positive_and_a_negative_of_different_anchors_compare_nothing(
    positive: int, negative: int, expected: bool
) -> None:
    """Both must be of one anchor."""
    masks = np.zeros((2, 2, 3), dtype=np.bool_)
    masks[0, positive, 1] = masks[1, negative, 2] = True
    assert compares(Batch(np.arange(3), np.arange(2), masks[0], masks[1])) is expected
