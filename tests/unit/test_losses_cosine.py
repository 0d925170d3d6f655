"""The cosine regression: hand-computed values and its loop."""

import pytest

from finetuner.losses import CosineRegression
from tests.loss_batches import at_random, cosines, known


def test_it_is_the_mean_squared_error_to_plus_and_minus_one() -> None:
    """Errors 0.5 (positive at 0.5) and 0.6 (negative at -0.4) give (0.25 + 0.36) / 2; what is unknown counts not."""
    assert CosineRegression()(cosines([0.5, -0.4, 0.9]), known("+-.")).item() == pytest.approx(0.305)


def test_it_equals_its_loop() -> None:
    """The mean over all judged pairs is a weighted one."""
    cosine, given = at_random(0, weighted=True)
    assert given.weight is not None
    top, bottom = 0.0, 0.0
    for a, c in given.judged.nonzero().tolist():
        target = 1 if given.positive[a, c] else -1
        top += given.weight[a, c].item() * (cosine[a, c].item() - target) ** 2
        bottom += given.weight[a, c].item()
    assert CosineRegression()(cosine, given).item() == pytest.approx(top / bottom)
