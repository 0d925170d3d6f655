"""Whether one system is really better than another on the same queries, for many metrics at once.

Two questions, two answers. How large is the difference: the percentile interval of the paired bootstrap. Could it be
chance: a sign-flip permutation test. Both take a query as a whole: what a system scored there stays together.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetuner.errors import OptionError

Floats = NDArray[np.float64]

RESAMPLES = 2000
"""How often queries are drawn for an interval."""

FLIPS = 10_000
"""How many ways to flip signs a p-value rests on; where there are no more, all of them."""

_CELLS = 1 << 21  # numbers held at once: 16 MB as float64, and a few times that in between


@dataclass(frozen=True)
class Difference:
    """How two systems differ in one metric.

    Attributes:
        mean: The mean of the differences over the queries.
        low: Lower end of the confidence interval of that mean.
        high: Upper end of it.
        p: The two-sided p-value, above 0 and at most 1.
    """

    mean: float
    low: float
    high: float
    p: float


def paired_differences(
    a: Mapping[str, Floats], b: Mapping[str, Floats], *, seed: int, confidence: float = 0.95
) -> dict[str, Difference]:
    """Return how two systems differ, a - b, in each metric.

    The interval is that of :func:`finetuner.evaluation.paired_difference`, of :data:`RESAMPLES` resamples with the same
    seed, which all metrics share.

    The p-value is that of the permutation test of Fisher (1935, section 21), as Smucker et al. (2007) recommend it: if it
    were chance which of the two systems got which of the two values of a query, any of the differences could as well
    have the other sign. p is the share of such flips whose mean is at least as far from 0. With at most :data:`FLIPS`
    ways to flip they are all looked at, and p is exact. Else so many are drawn, and p = (1 + those) / (1 + all), which
    keeps the promised error rate (Phipson and Smyth 2010). It is not corrected for several metrics being looked at.

    Args:
        a: Metrics of one system by name, each with a value for each query, (Q,).
        b: The same metrics of the other one, for the same queries in the same order.
        seed: Decides resamples and flips, at least 0.
        confidence: How often an interval shall hold the true mean, above 0 and below 1.

    Raises:
        OptionError: If the metrics or queries of the two differ, there is none, or ``confidence`` is out of range.
    """
    if not 0 < confidence < 1:
        raise OptionError(f"confidence={confidence}; give a number above 0 and below 1, such as 0.95")
    shapes = {np.shape(values) for values in (*a.values(), *b.values())}
    if list(a) != list(b) or len(shapes) != 1 or len(shape := shapes.pop()) != 1 or not shape[0]:
        raise OptionError(
            f"a has {sorted(a)}, b has {sorted(b)}: give the same metrics of both, a value for each of the same queries"
        )
    difference = np.stack([a[name] - b[name] for name in a], axis=1).astype(np.float64, copy=False)
    low, high = _intervals(difference, seed, confidence)
    columns = zip(a, difference.mean(axis=0), low, high, _by_chance(difference, seed), strict=True)
    return {name: Difference(*map(float, found)) for name, *found in columns}


def _intervals(difference: Floats, seed: int, confidence: float) -> tuple[Floats, Floats]:
    """Return the ends of the percentile interval of each column's mean; the columns share their resamples."""
    random = np.random.default_rng(seed)
    queries = len(difference)
    means = np.empty((RESAMPLES, difference.shape[1]))
    for part in np.array_split(means, -(-RESAMPLES * queries // _CELLS)):
        drawn = random.integers(queries, size=(len(part), queries))
        drawn += queries * np.arange(len(part))[:, None]
        times = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        part[:] = times.astype(np.float64) @ difference / queries
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high


def _by_chance(difference: Floats, seed: int) -> Floats:
    """Return the p-value of each column; the columns share their flips."""
    moved = difference[(difference != 0).any(axis=1)]  # to flip a 0 changes nothing
    total = moved.sum(axis=0)
    least = np.abs(total) - 1e-12 * np.abs(moved).sum(
        axis=0
    )  # two sums of the same numbers may be rounded apart
    every = 2 ** len(moved) if len(moved) < 63 else FLIPS + 1
    if every <= FLIPS:
        flipped = (np.arange(every)[:, None] >> np.arange(len(moved))) & 1
        exact: Floats = np.mean(np.abs(total - 2 * flipped @ moved) >= least, axis=0)
        return exact
    random = np.random.default_rng((seed, 1))  # others than those of the resamples
    as_far = np.ones(len(total))
    for part in np.array_split(np.arange(FLIPS), -(-FLIPS * len(moved) // _CELLS)):
        flipped = random.integers(2, size=(len(part), len(moved)), dtype=np.int8).astype(np.float64)
        as_far += np.sum(np.abs(total - 2 * flipped @ moved) >= least, axis=0)
    return as_far / (1 + FLIPS)
