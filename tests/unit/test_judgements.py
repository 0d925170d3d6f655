"""Settling judgements in columns equals settling them one by one."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuner.judgements import Judgements

SAID = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.lists(
            st.tuples(
                st.integers(0, 3), st.sampled_from([1.0, -1.0, 0.5, math.nan]), st.sampled_from([1.0, 2.0])
            ),
            max_size=4,
        ),
    ),
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(SAID)
def test_settling_equals_a_loop_over_all_that_was_said(
    said: list[tuple[int, list[tuple[int, float, float]]]],
) -> None:
    """Order, last labels and weights, and every count."""
    judgements = Judgements()
    held: dict[int, dict[int, tuple[float, float]]] = {}
    counts = dict.fromkeys(("merged_anchors", "self_matches", "unjudged", "repeated", "contradicted"), 0)
    for anchor, matches in said:
        rows, labels, weights = zip(*matches, strict=True) if matches else ((), (), ())
        judgements.add(anchor, rows, labels, weights)
        counts["merged_anchors"] += anchor in held
        known = held.setdefault(anchor, {})
        for row, label, weight in matches:
            if row == anchor:
                counts["self_matches"] += 1
            elif math.isnan(label):
                counts["unjudged"] += 1
            else:
                if row in known:
                    counts["repeated" if known[row][0] == label else "contradicted"] += 1
                known[row] = (label, weight)
    settled = judgements.settle()
    assert settled.counts == counts
    assert settled.anchors.tolist() == list(held)
    assert np.diff(settled.offsets).tolist() == [len(known) for known in held.values()]
    assert settled.matches.tolist() == [row for known in held.values() for row in known]
    assert settled.labels.tolist() == [label for known in held.values() for label, _ in known.values()]
    assert settled.weights.tolist() == [weight for known in held.values() for _, weight in known.values()]


def test_columns_and_single_judgements_are_the_same() -> None:
    """An anchor may come alone or with others in arrays."""
    one, other = Judgements(), Judgements()
    one.add(0, [1, 2], [1.0, -1.0], [1.0, 3.0])
    one.add(4, [], [], [])
    other.extend(
        np.array([0, 4]), np.array([2, 0]), np.array([1, 2]), np.array([1.0, -1.0]), np.array([1.0, 3.0])
    )
    for name in ("anchors", "offsets", "matches", "labels", "weights"):
        np.testing.assert_array_equal(getattr(one.settle(), name), getattr(other.settle(), name))
    assert len(one) == len(other) == 2
