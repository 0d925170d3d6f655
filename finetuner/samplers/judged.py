"""The judgements of a batch's anchors, found where the match set keeps them: nothing is copied for it."""

import numpy as np

from finetuner.groups import Mask, spans
from finetuner.matches import Labels, MatchSet, Rows

CANDIDATES = 4
"""A sample is drawn from so many times as many judgements, so that an anchor with millions costs no more."""


def judgements_of(matches: MatchSet, anchors: Rows) -> tuple[Rows, Rows]:
    """Return all judgements of some anchors: (index into ``anchors``, judgement), each (J,); -1 is no anchor."""
    first = matches.offsets[anchors]
    return spans(first, np.where(anchors < 0, 0, matches.offsets[anchors + 1] - first))


def sample(matches: MatchSet, anchors: Rows, most: int, random: np.random.Generator) -> Rows:
    """Return judgements of some anchors: at most ``most`` of each, with both signs where it has both."""
    first = matches.offsets[anchors]
    counts = matches.offsets[anchors + 1] - first
    large = counts > most
    _, all_of_small = spans(first[~large], counts[~large])
    if not large.any():
        return all_of_small
    some_of_large = _some(matches.labels, first[large], counts[large], most, random)
    return np.concatenate([all_of_small, some_of_large])


def _some(labels: Labels, first: Rows, counts: Rows, most: int, random: np.random.Generator) -> Rows:
    """Return ``most`` judgements of each anchor, which has ``counts`` from ``first`` on, more than that."""
    _, judgement = spans(first, counts)
    signs = labels[judgement]
    positive, negative = (first + _one(side, counts, random) for side in (signs > 0, signs < 0))
    owner, drawn = _candidates(counts, most, random)
    drawn += first[owner]
    # both signs go before what is drawn, and are not drawn again
    again = (drawn == positive[owner]) | (drawn == negative[owner])
    sure = np.concatenate([positive, negative])
    sure_owner = np.tile(np.arange(len(first)), 2)
    there = sure >= np.tile(first, 2)
    key = np.concatenate([np.full(there.sum(), -1.0), random.random(len(owner))[~again]])
    owner = np.concatenate([sure_owner[there], owner[~again]])
    drawn = np.concatenate([sure[there], drawn[~again]])
    order = np.lexsort((key, owner))
    begin = np.searchsorted(owner[order], np.arange(len(first)))
    return drawn[order][np.arange(len(order)) - begin[owner[order]] < most]


def _candidates(counts: Rows, most: int, random: np.random.Generator) -> tuple[Rows, Rows]:
    """Return (owner, which of its judgements): one at random of each of ``CANDIDATES * most`` equal parts.

    The parts begin at a random one, so that each judgement is equally likely although parts differ in size by one.
    """
    parts = np.minimum(counts, CANDIDATES * most)
    owner, part = spans(np.zeros_like(parts), parts)
    low, high = part * counts[owner] // parts[owner], (part + 1) * counts[owner] // parts[owner]
    return owner, (random.integers(low, high) + random.integers(counts)[owner]) % counts[owner]


def _one(chosen: Mask, counts: Rows, random: np.random.Generator) -> Rows:
    """Return one at random of the chosen of each stretch, by its place there; less than 0 where none is chosen."""
    before = np.concatenate([[0], np.cumsum(chosen)])
    ends = np.cumsum(counts)
    low, high = before[ends - counts], before[ends]
    rank = low + (random.random(len(counts)) * (high - low)).astype(np.int64)
    place = np.searchsorted(before, rank + 1) - 1 - (ends - counts)
    return np.where(high > low, place, -1 - ends)
