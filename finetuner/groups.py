"""Which contents belong together, as far as positive judgements tell: by groups, or by steps from one to the next."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from finetuner.matches import MatchSet, Rows

Mask = NDArray[np.bool_]

_OFTEN = (
    1000  # a product of matrices costs as much for each number of the result as so many pairs, one by one
)
_PAIRS = 1 << 20  # that are marked at once
_MIDDLES = 1 << 11  # that go into one product


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
    chosen = np.flatnonzero(matches.labels > 0)
    left, right = matches.anchors[matches.owners(chosen)], matches.matches[chosen]
    root = np.arange(len(matches.ids), dtype=np.int64)
    while len(left):
        # left and right hold roots only, and the larger one of a pair is hung under the smaller one
        np.minimum.at(root, np.maximum(left, right), np.minimum(left, right))
        while not np.array_equal(above := root[root], root):
            root = above
        left, right = root[left], root[right]
        apart = left != right
        left, right = left[apart], right[apart]
    chosen = np.flatnonzero(matches.labels < 0)
    if (root[matches.anchors[matches.owners(chosen)]] == root[matches.matches[chosen]]).any():
        return None
    return np.unique(root, return_inverse=True)[1].astype(np.int64)


class PositiveGraph:
    """Which contents are judged positive with which, in either direction.

    It holds 8 bytes for each positive judgement and 8 for each content.

    Args:
        matches: Whose judgements above 0 are its edges.
    """

    def __init__(self, matches: MatchSet) -> None:
        chosen = np.flatnonzero(matches.labels > 0)
        owners = matches.anchors[matches.owners(chosen)]
        # source and target in one number are sorted several times faster than a permutation is
        edges = np.empty((2, len(owners)), np.int64)
        np.left_shift(owners, 32, out=edges[0])
        edges[0] |= matches.matches[chosen]
        np.left_shift(matches.matches[chosen], 32, out=edges[1])
        edges[1] |= owners
        ascending = edges.reshape(-1)
        ascending.sort()
        self._offsets = np.searchsorted(ascending, np.arange(len(matches.ids) + 1) << 32)
        self._targets = ascending.astype(np.uint32)

    def _neighbours(self, rows: Rows) -> tuple[Rows, Rows]:
        """Return (index into ``rows``, neighbour) of each edge that leaves one of the rows."""
        first = self._offsets[rows]
        owner, edge = spans(first, self._offsets[rows + 1] - first)
        return owner, self._targets[edge].astype(np.int64)

    def near(self, anchors: Rows, contents: Rows) -> Mask:
        """Return where a content is one or two positive judgements away from an anchor, bool (A, N)."""
        owner, middle = self._neighbours(anchors)
        # an anchor is also a middle of its own, so that one step is two steps
        owner = np.concatenate([owner, np.arange(len(anchors))])
        middle = np.concatenate([middle, anchors])
        middles = np.unique(middle)
        middle = np.searchsorted(middles, middle)
        column, other = among(middles, *self._neighbours(contents))
        near = np.zeros((len(anchors), len(contents)), dtype=np.bool_)
        pairs = np.bincount(middle, minlength=len(middles)) * np.bincount(other, minlength=len(middles))
        often = pairs > near.size // _OFTEN
        few, rare = ~often[middle], ~often[other]
        _by_pair(near, owner[few], middle[few], column[rare], other[rare])
        number = np.cumsum(often) - 1
        left, right = (owner[~few], number[middle[~few]]), (column[~rare], number[other[~rare]])
        _by_product(near, left, right, int(often.sum()))
        return near


def _by_pair(near: Mask, owner: Rows, middle: Rows, column: Rows, other: Rows) -> None:
    """Mark each pair of an owner and a column that have a middle in common, some at a time."""
    order = np.argsort(middle)
    owner, middle = owner[order], middle[order]
    first = np.searchsorted(middle, other)
    counts = np.searchsorted(middle, other, side="right") - first
    total = np.cumsum(counts)
    cuts = np.searchsorted(total, np.arange(0, total[-1] if len(total) else 0, _PAIRS))
    for begin, end in pairwise([*cuts, len(other)]):
        pair, place = spans(first[begin:end], counts[begin:end])
        near[owner[place], column[begin:end][pair]] = True


def _by_product(near: Mask, left: tuple[Rows, Rows], right: tuple[Rows, Rows], count: int) -> None:
    """Do the same for ``count`` middles by matrices of 0 and 1; ``left`` and ``right`` are (index, middle)."""
    for begin in range(0, count, _MIDDLES):
        sides = []
        for size, (index, middle) in zip(near.shape, (left, right), strict=True):
            here = (middle >= begin) & (middle < begin + _MIDDLES)
            side = np.zeros((size, min(_MIDDLES, count - begin)), np.float32)
            side[index[here], middle[here] - begin] = 1
            sides.append(side)
        near |= sides[0] @ sides[1].T > 0


def spans(first: Rows, counts: Rows) -> tuple[Rows, Rows]:
    """Return the numbers ``first[i]`` to ``first[i] + counts[i] - 1`` of each i.

    Args:
        first: Where each stretch begins, (S,).
        counts: How long it is, (S,).

    Returns:
        The i of each number, and the numbers, stretch after stretch, each int64 (counts.sum(),).
    """
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(len(owner))


def among(values: Rows, owner: Rows, value: Rows) -> tuple[Rows, Rows]:
    """Return the pairs whose value is one of the ascending ``values``.

    Args:
        values: Ascending, each once, (V,).
        owner: Whose value it is, (P,).
        value: The values, (P,).

    Returns:
        The owners of those that are found, and where in ``values`` they are, each (F,).
    """
    index = np.searchsorted(values, value)
    found = np.append(values, -1)[index] == value
    return owner[found], index[found]
