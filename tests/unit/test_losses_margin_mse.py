"""MarginMSE: hand-computed values and the loop over pairs of matches."""

import math
from dataclasses import replace

import pytest
import torch

from finetuner.losses import MarginMSE
from tests.loss_batches import at_random, cosines, known, slope


def test_a_margin_of_cosines_is_held_against_the_teachers() -> None:
    """Ten times (0.5 - 0.2) is 3, the teacher says 7 - 5 = 2, and the difference costs its square."""
    given = replace(known("+-."), score=torch.tensor([[7, 5, math.nan]], dtype=torch.float64))
    assert MarginMSE(scale=10)(cosines([0.5, 0.2, 0.9]), given).item() == pytest.approx(1)


def test_where_the_teacher_begins_to_count_does_not_matter() -> None:
    """A teacher whose scores are all higher by 100 teaches the same."""
    cosine, given = at_random(0)
    assert given.score is not None
    higher = replace(given, score=given.score + 100)
    assert MarginMSE()(cosine, higher).item() == pytest.approx(MarginMSE()(cosine, given).item())


@pytest.mark.parametrize("weighted", [False, True])
def test_value_and_gradient_equal_those_of_the_loop(weighted: bool) -> None:
    """The closed form gives what listing all pairs of an anchor's scored matches gives."""
    cosine, given = at_random(0, weighted=weighted)
    assert given.score is not None
    weight = torch.ones_like(cosine) if given.weight is None else given.weight
    error = 3 * cosine - given.score
    pairs = [
        (weight[a, i] * weight[a, j], (error[a, i] - error[a, j]) ** 2)
        for a, row in enumerate((~given.score.isnan()).tolist())
        for i in range(len(row))
        for j in range(i)
        if row[i] and row[j]
    ]
    expected = (
        torch.stack([w * square for w, square in pairs]).sum() / torch.stack([w for w, _ in pairs]).sum()
    )
    value = MarginMSE(scale=3)(cosine, given)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(slope(value, cosine), slope(expected, cosine))


def test_one_scored_match_teaches_nothing() -> None:
    """A margin needs two."""
    given = replace(known("+-"), score=torch.tensor([[7, math.nan]]))
    assert MarginMSE().teaches(given).tolist() == [False]
    assert MarginMSE()(cosines([0.5, 0.2]), given).item() == 0
    assert MarginMSE().teaches(known("+-")).tolist() == [False]
