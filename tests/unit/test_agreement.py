"""How far two versions agree about neighbours, by hand and by a naive loop."""

import numpy as np
import pytest
from numpy.typing import NDArray

from finetuner.lifecycle.agreement import agreement


def on_circle(*degrees: float) -> NDArray[np.float32]:
    """Return vectors of length 1 at these angles."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_an_example_by_hand() -> None:
    """Three contents keep their nearest neighbour, and the one that has moved, and whom it left, do not.

    At 0, 10, 30, 100, 115 degrees each has the one before or after it; then the last moves to 5 degrees.
    """
    found = agreement(on_circle(0, 10, 30, 100, 115), on_circle(0, 10, 30, 100, 4))
    # nearest before: 10, 0, 10, 115, 100; after: 4, 4, 10, 30, 0 degrees, by row 4, 4, 1, 2, 0
    assert [list(order[:, 0]) for order in found.nearest] == [[1, 0, 1, 4, 3], [4, 4, 1, 2, 0]]
    assert list(found.overlap) == [1]
    assert found.overlap[1].tolist() == [0, 0, 1, 0, 0]
    # row 0 orders 1 2 3 4, then 4 1 2 3: places move by 1, 1, 1 and 3, so 1 - 6 * 12 / (4 * 15)
    assert found.rank[0] == pytest.approx(1 - 6 * 12 / 60)


def test_it_is_what_a_loop_says() -> None:
    """Overlap of sets, and Pearson's correlation of the places."""
    random = np.random.default_rng(0)
    one, other = (random.normal(size=(30, 8)).astype(np.float32) for _ in range(2))
    for made in (one, other):
        made /= np.linalg.norm(made, axis=1, keepdims=True)
    found = agreement(one, other)
    for row in range(30):
        orders = [
            sorted(set(range(30)) - {row}, key=(-made @ made[row]).tolist().__getitem__)
            for made in (one, other)
        ]
        for k in (1, 10):
            assert found.overlap[k][row] == pytest.approx(len(set(orders[0][:k]) & set(orders[1][:k])) / k)
        places = [[order.index(at) for at in orders[0]] for order in orders]
        assert found.rank[row] == pytest.approx(float(np.corrcoef(np.array(places))[0][1]))


def test_a_turned_space_agrees_wholly() -> None:
    """Neighbours do not depend on the axes, and nothing has changed."""
    before = on_circle(*np.random.default_rng(0).uniform(0, 360, 30))
    found = agreement(before, np.stack([-before[:, 1], before[:, 0]], axis=1))
    assert {k: float(each.mean()) for k, each in found.overlap.items()} == {1: 1.0, 10: 1.0}
    assert found.rank.mean() == pytest.approx(1)


@pytest.mark.parametrize(("count", "ks"), [(1, []), (2, []), (3, [1]), (11, [1]), (12, [1, 10])])
def test_no_overlap_is_told_where_all_others_are_neighbours(count: int, ks: list[int]) -> None:
    """It would be 1 for any two versions."""
    found = agreement(on_circle(*range(count)), on_circle(*range(count)))
    assert list(found.overlap) == ks
    assert len(found.rank) == (count if count > 2 else 0)


def test_those_that_changed_most_come_first() -> None:
    """Below the same overlap by the order of all others."""
    found = agreement(on_circle(0, 10, 30, 100, 115), on_circle(0, 10, 30, 100, 4))
    changed = [(found.overlap[1][row], found.rank[row]) for row in found.most_changed(4)]
    assert changed == sorted(changed)
    assert 2 not in found.most_changed(4)
