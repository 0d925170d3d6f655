"""Batches for training: anchors with their matches, and by id what is what to whom.

Match data judges few pairs; a batch holds many. What the others are follows from the ids of contents, never
from embeddings: contents that positive judgements connect belong together, see :func:`positive_groups`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from finetuner.errors import OptionError
from finetuner.matches import MatchSet, Rows

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Batch:
    """Some anchors, the contents to embed for them, and the relations of the two.

    Attributes:
        contents: Rows of the match set, each once and ascending, int64 (N,).
        anchors: Where in ``contents`` the anchors are, int64 (A,).
        positive: True where a content is a positive of an anchor, bool (A, N).
        negative: True where it is a negative, bool (A, N). Both False: unknown, or the anchor itself.
        weight: How much each pair counts, float32 (A, N): what its judgement weighs, and 1 where nobody judged. None
            if all are 1.
    """

    contents: Rows
    anchors: Rows
    positive: Mask
    negative: Mask
    weight: NDArray[np.float32] | None = None


class MatchSampler:
    """Deals out the anchors of a match set in batches, each once an epoch, with their judged matches.

    An anchor with more than ``matches_per_anchor`` judged matches brings a fresh random sample of them each
    epoch, with at least one positive and one negative if it has them; so over the epochs all come.

    What is what to an anchor in a batch:

    - If positive judgements form groups (see :func:`positive_groups`), the contents of its group are
      positives, and all others are negatives.
    - If they do not, positive is what is judged positive. Negative is what is judged negative, and what is
      not judged, unless one positive judgement, or two over a third content, connect it with the anchor in
      whichever direction.
    - Without ``in_batch_negatives`` judgements alone count, groups or not.

    All judgements count, not only those of the sample. A label of 0 judges nothing. Nothing is a positive or
    a negative of itself.

    Args:
        matches: The match data to learn from.
        batch_size: Anchors in a batch, at least 1; the last batch of an epoch may hold fewer.
        matches_per_anchor: Judged matches that an anchor brings into a batch at most, at least 2.
        seed: With the number of an epoch it decides all that is random, at least 0.
        in_batch_negatives: Whether contents that came with other anchors may be negatives.

    Raises:
        OptionError: If a number is too small.
    """

    def __init__(
        self,
        matches: MatchSet,
        *,
        batch_size: int,
        matches_per_anchor: int,
        seed: int,
        in_batch_negatives: bool = True,
    ) -> None:
        _check_at_least(1, "batch_size", batch_size)
        _check_at_least(2, "matches_per_anchor", matches_per_anchor)  # a positive and a negative
        _check_at_least(0, "seed", seed)
        self._matches = matches
        self._batch_size = batch_size
        self._matches_per_anchor = matches_per_anchor
        self._seed = seed
        self._groups = positive_groups(matches) if in_batch_negatives else None
        self._graph = _PositiveGraph(matches) if in_batch_negatives and self._groups is None else None

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-len(self._matches) // self._batch_size)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, counted from 0; the same each time, whatever was asked before."""
        random = np.random.default_rng([self._seed, number])
        order = random.permutation(len(self._matches))
        for start in range(0, len(order), self._batch_size):
            yield self._batch(self._matches.only(order[start : start + self._batch_size]), random)

    def _batch(self, judged: MatchSet, random: np.random.Generator) -> Batch:
        sampled = _sample(judged, self._matches_per_anchor, random)
        contents = np.unique(np.concatenate([judged.anchors, judged.matches[sampled]]))
        anchors = np.searchsorted(contents, judged.anchors)
        positive, negative = self._relations(judged, contents)
        itself = (np.arange(len(anchors)), anchors)
        positive[itself] = negative[itself] = False
        return Batch(contents, anchors, positive, negative, _weights(judged, contents))

    def _relations(self, judged: MatchSet, contents: Rows) -> tuple[Mask, Mask]:
        if self._groups is not None:
            together = self._groups[judged.anchors][:, None] == self._groups[contents]
            return together, ~together
        signs = _signs(judged, contents)
        positive, negative = signs > 0, signs < 0
        if self._graph is not None:
            negative |= ~self._graph.near(judged.anchors, contents)
        return positive, negative


def positive_groups(matches: MatchSet) -> Rows | None:
    """Return the group of each content: those that positive judgements connect, over any number of steps.

    For match data that was made from classes these are the classes, if it is dense enough to connect them;
    for questions and answers, an answer with all its questions. A content without a positive judgement is a
    group of its own.

    Returns:
        The group of each content, numbered from 0 in the order of first rows, int64 (N,). None if a negative
        judgement lies within a group: then "positive" is not transitive in this data. None as well if there is
        no negative judgement, which could have said so: clicks, for one, connect nearly everything in the end.
    """
    if not (matches.labels < 0).any():
        return None
    owners = matches.anchors[matches.anchor_of]
    chosen = matches.labels > 0
    left, right = owners[chosen], matches.matches[chosen]
    root = np.arange(len(matches.ids), dtype=np.int64)
    while len(left):
        # left and right hold roots only, and the larger one of a pair is hung under the smaller one
        np.minimum.at(root, np.maximum(left, right), np.minimum(left, right))
        while not np.array_equal(above := root[root], root):
            root = above
        left, right = root[left], root[right]
        apart = left != right
        left, right = left[apart], right[apart]
    chosen = matches.labels < 0
    if (root[owners[chosen]] == root[matches.matches[chosen]]).any():
        return None
    return np.unique(root, return_inverse=True)[1].astype(np.int64)


class _PositiveGraph:
    """Which contents are judged positive with which, in either direction."""

    def __init__(self, matches: MatchSet) -> None:
        chosen = matches.labels > 0
        ends = matches.anchors[matches.anchor_of[chosen]], matches.matches[chosen]
        source, target = np.concatenate(ends), np.concatenate(ends[::-1])
        order = np.argsort(source, kind="stable")
        self._targets = target[order]
        self._offsets = np.searchsorted(source[order], np.arange(len(matches.ids) + 1))

    def _neighbours(self, rows: Rows) -> tuple[Rows, Rows]:
        """Return (index into ``rows``, neighbour) of each edge that leaves one of the rows."""
        counts = self._offsets[rows + 1] - self._offsets[rows]
        owner = np.repeat(np.arange(len(rows)), counts)
        first = np.repeat(self._offsets[rows] - (np.cumsum(counts) - counts), counts)
        return owner, self._targets[first + np.arange(len(owner))]

    def near(self, anchors: Rows, contents: Rows) -> Mask:
        """Return where a content is one or two positive judgements away from an anchor, bool (A, N)."""
        owner, middle = self._neighbours(anchors)
        # an anchor is also a middle of its own, so that one step is two steps
        owner = np.concatenate([owner, np.arange(len(anchors))])
        middle = np.concatenate([middle, anchors])
        column, other = self._neighbours(contents)
        middles = np.intersect1d(middle, other)
        near = np.zeros((len(anchors), len(contents)), dtype=np.bool_)
        left = _words(middles, owner, middle, len(anchors))
        right = _words(middles, column, other, len(contents))
        for bits, other_bits in zip(left, right, strict=True):
            near |= (bits[:, None] & other_bits) != 0
        return near


def _words(values: Rows, owner: Rows, value: Rows, owners: int) -> Iterator[NDArray[np.uint64]]:
    """Yield for each 64 of the ascending ``values`` which of them an owner has, as bits: uint64 (owners,)."""
    owner, index = _among(values, owner, value)
    order = np.argsort(index, kind="stable")
    owner, index = owner[order], index[order]
    bit = np.uint64(1) << (index % 64).astype(np.uint64)
    for first, last in pairwise(np.searchsorted(index, np.arange(0, len(values) + 64, 64))):
        word = np.zeros(owners, dtype=np.uint64)
        np.bitwise_or.at(word, owner[first:last], bit[first:last])
        yield word


def _among(values: Rows, owner: Rows, value: Rows) -> tuple[Rows, Rows]:
    """Return the pairs whose value is one of the ascending ``values``, as (owner, index into ``values``)."""
    index = np.searchsorted(values, value)
    found = np.append(values, -1)[index] == value
    return owner[found], index[found]


def _signs(judged: MatchSet, contents: Rows) -> NDArray[np.int8]:
    """Return the sign of each anchor's judgement of each content, 0 where it judges none: int8 (A, N)."""
    signs = np.zeros((len(judged), len(contents)), dtype=np.int8)
    judgement, column = _among(contents, np.arange(len(judged.matches)), judged.matches)
    signs[judged.anchor_of[judgement], column] = np.sign(judged.labels[judgement])
    return signs


def _weights(judged: MatchSet, contents: Rows) -> NDArray[np.float32] | None:
    """Return the weight of each anchor's judgement of each content, 1 where it judges none: float32 (A, N)."""
    if (judged.weights == 1).all():
        return None
    weights = np.ones((len(judged), len(contents)), np.float32)
    judgement, column = _among(contents, np.arange(len(judged.matches)), judged.matches)
    weights[judged.anchor_of[judgement], column] = judged.weights[judgement]
    return weights


def _sample(judged: MatchSet, most: int, random: np.random.Generator) -> Rows:
    """Return which judgements to take: at most ``most`` of each anchor, with both signs where it has both."""
    owner = judged.anchor_of
    if np.diff(judged.offsets).max(initial=0) <= most:
        return np.arange(len(owner), dtype=np.int64)
    key = random.random(len(owner))
    for side in (judged.labels > 0, judged.labels < 0):
        shuffled = np.lexsort((key, owner))
        shuffled = shuffled[side[shuffled]]
        _, first = np.unique(owner[shuffled], return_index=True)
        key[shuffled[first]] = -1  # before all others
    order = np.lexsort((key, owner))
    return order[np.arange(len(owner)) - judged.offsets[owner] < most]


def _check_at_least(least: int, name: str, value: int) -> None:
    if value < least:
        raise OptionError(f"{name} is {value!r}; give a whole number of at least {least}")
