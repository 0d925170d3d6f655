"""Differences of two systems on the same queries: intervals, and p-values by hand and by enumeration."""

import math
from itertools import product

import numpy as np
import pytest

from finetuner import significance
from finetuner.errors import OptionError
from finetuner.evaluation import paired_difference
from finetuner.significance import Floats, paired_differences


def chance(difference: Floats) -> float:
    """The exact p-value, from its definition."""
    least = abs(difference.sum()) - 1e-12
    flips = [abs(np.dot(signs, difference)) >= least for signs in product([1, -1], repeat=len(difference))]
    return sum(flips) / len(flips)


def test_the_interval_is_that_of_one_metric_alone() -> None:
    """Many metrics at once, which share their resamples, get the intervals that each gets by itself."""
    a, b = np.random.default_rng(0).random((2, 50, 3))
    found = paired_differences(
        {str(at): a[:, at] for at in range(3)}, {str(at): b[:, at] for at in range(3)}, seed=4
    )
    for at in range(3):
        one = found[str(at)]
        expected = paired_difference(a[:, at], b[:, at], seed=4)
        assert (one.mean, one.low, one.high) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("difference", "p"),
    [
        ([0.1] * 5, 2 / 32),
        ([1, 1, -1], 1.0),
        ([0.3, 0.2, 0.1, -0.1], 6 / 16),
        ([2.0], 1.0),
        ([0.0, 0.0], 1.0),
    ],
)
def test_p_of_few_queries_by_hand(difference: list[float], p: float) -> None:
    """Of all ways to flip signs it is the share whose mean is as far from 0; the least of five queries is 2 / 2^5."""
    a = np.array(difference, np.float64)
    assert paired_differences({"m": a}, {"m": np.zeros(len(a))}, seed=0)["m"].p == p == chance(a)


def test_drawn_flips_come_near_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten queries have 1,024 ways; where only 1,000 may be looked at they are drawn, and p is about the same."""
    difference = np.random.default_rng(1).normal(0.1, 1, size=10)
    monkeypatch.setattr(significance, "FLIPS", 1000)
    found = paired_differences({"m": difference}, {"m": np.zeros(10)}, seed=0)["m"].p
    exact = chance(difference)
    assert 0.05 < exact < 0.95
    assert found == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 1000))


def test_drawn_flips_never_give_a_p_of_0() -> None:
    """What was observed is one of the ways: the least p is 1 / (1 + flips)."""
    found = paired_differences({"m": np.ones(200)}, {"m": np.zeros(200)}, seed=0)["m"]
    assert found.p == 1 / 10_001
    assert (found.mean, found.low, found.high) == (1, 1, 1)


def test_queries_in_which_nothing_differs_do_not_change_p() -> None:
    """They count in the mean and its interval, and to flip them does nothing."""
    difference = np.array([0.5, 0.25, -0.1, 0.2, 0.3, 0.1])
    padded = np.concatenate([difference, np.zeros(50)])
    found = paired_differences({"m": padded}, {"m": np.zeros(56)}, seed=0)["m"]
    assert found.p == chance(difference)
    assert found.mean == pytest.approx(difference.sum() / 56)


def test_equal_systems_differ_by_nothing() -> None:
    """The interval is the point 0, and p is 1."""
    values = np.random.default_rng(0).random(30)
    found = paired_differences({"m": values}, {"m": values}, seed=0)["m"]
    assert (found.mean, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_chance_is_called_a_difference_as_rarely_as_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 300 metrics in which two systems do not differ, 5 % are below 0.05, give or take three standard errors."""
    monkeypatch.setattr(significance, "RESAMPLES", 10)
    difference = np.random.default_rng(0).normal(size=(40, 300))
    found = paired_differences(
        {str(at): difference[:, at] for at in range(300)},
        {str(at): np.zeros(40) for at in range(300)},
        seed=0,
    )
    assert np.mean([one.p < 0.05 for one in found.values()]) == pytest.approx(0.05, abs=3 * 0.0126)


def test_the_seed_decides_and_blocks_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed gives the same figures, however much fits into memory at once; another one gives others."""
    a, b = np.random.default_rng(0).random((2, 60))
    first = paired_differences({"m": a}, {"m": b}, seed=1)["m"]
    other = paired_differences({"m": a}, {"m": b}, seed=2)["m"]
    assert (first.low, first.p) != (other.low, other.p)
    monkeypatch.setattr(significance, "_CELLS", 1000)
    again = paired_differences({"m": a}, {"m": b}, seed=1)["m"]
    assert (again.low, again.high) == pytest.approx((first.low, first.high), abs=1e-12)
    assert again.p == first.p


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"m": np.zeros(3)}, {"m": np.zeros(4)}),
        ({"m": np.zeros(3)}, {"n": np.zeros(3)}),
        ({"m": np.zeros(0)}, {"m": np.zeros(0)}),
        ({}, {}),
    ],
)
def test_differences_need_the_same_metrics_of_the_same_queries(
    a: dict[str, Floats], b: dict[str, Floats]
) -> None:
    """Other lengths, other names, no query and no metric are refused."""
    with pytest.raises(OptionError, match="give the same metrics of both"):
        paired_differences(a, b, seed=0)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_a_confidence_in_per_cent_is_refused(confidence: float) -> None:
    """It would be an interval that holds nothing, or everything."""
    with pytest.raises(OptionError, match=r"confidence=.*above 0 and below 1"):
        paired_differences({"m": np.zeros(3)}, {"m": np.zeros(3)}, seed=0, confidence=confidence)
