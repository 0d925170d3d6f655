"""Hard negatives: for each anchor the nearest contents of the whole corpus that are wrong, as far as anybody knows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetuner.errors import OptionError
from finetuner.groups import positive_groups
from finetuner.matches import MatchSet, Rows
from finetuner.models import Encoder
from finetuner.nearest import Embeddings, nearest

Sampling = Literal["top", "random"]

_PAIRS = 1 << 22  # pairs of anchor and content that are held at once


class MiningOptions(TypedDict, total=False):
    """The options of :func:`mine`, all of them optional."""

    count: int
    guard: float | None
    skip: int
    sampling: Sampling
    depth: int | None
    seed: int


@dataclass(frozen=True)
class Mined:
    """Hard negatives of the anchors of a match set.

    Attributes:
        rows: Rows of the contents, the nearest first; -1 where there are not that many, int64 (A, count).
        cosine: Their cosines with the anchor; -inf where there is none, float32 (A, count).
        found: How many there are in all.
        short: Anchors with fewer than were asked for.
        guarded: Anchors of which the guard left out at least one content.
        unguarded: Anchors without a positive: nothing can guard their negatives.
    """

    rows: Rows
    cosine: Embeddings
    found: int
    short: int
    guarded: int
    unguarded: int

    def with_negatives(self, matches: MatchSet) -> MatchSet:
        """Return the match set with the mined negatives, judged with -1 after what each anchor has, weight 1.

        Args:
            matches: That from which they were mined.

        Raises:
            OptionError: If it has another number of anchors.
        """
        if len(matches) != len(self.rows):
            raise OptionError(f"mined for {len(self.rows)} anchors; the match set has {len(matches)}")
        owner, slot = np.nonzero(self.rows >= 0)
        order = np.argsort(np.concatenate([matches.anchor_of, owner]), kind="stable")
        ones = np.ones(len(owner), np.float32)
        return replace(
            matches,
            offsets=matches.offsets + np.append(0, np.cumsum((self.rows >= 0).sum(axis=1))),
            matches=np.concatenate([matches.matches, self.rows[owner, slot]])[order],
            labels=np.concatenate([matches.labels, -ones])[order],
            weights=np.concatenate([matches.weights, ones])[order],
        )


def mine(
    queries: Embeddings,
    contents: Embeddings,
    matches: MatchSet,
    *,
    count: int = 5,
    guard: float | None = 0.95,
    skip: int = 0,
    sampling: Sampling = "top",
    depth: int | None = None,
    seed: int = 0,
) -> Mined:
    """Return the contents nearest to each anchor that are not known to be right.

    Never mined are the anchor itself, what it has judged (positive, negative or 0: that comes anyway), and what may
    well be right: the contents of its group (see :func:`finetuner.groups.positive_groups`) or, if there are no groups,
    what is one positive judgement away from it, or two over a third content, in whichever direction.

    The guard leaves out what is probably right though nobody said so: contents with a cosine above p - (1 - guard)|p|,
    where p is the mean cosine of the anchor with its positives; for p >= 0 that is guard * p. It is "TopK-PercPos" of
    NV-Retriever (Moreira et al. 2024, arXiv 2407.15831), but that p comes from the model that is tuned and not from a
    teacher, that there may be several positives, and that it is no filter of the nearest k: behind what it leaves
    out, the search goes on. Where p is negative guard * p would be above p; so the bound is as far below p as it
    is for -p. An anchor without a positive has no p, and is not guarded.

    Memory: that of :func:`finetuner.nearest.nearest`, whatever the number of anchors.

    Args:
        queries: Embeddings of the anchors, L2-normalised, float32 (A, D).
        contents: Embeddings of all contents, L2-normalised, float32 (N, D).
        matches: The match data.
        count: Negatives of an anchor at most, at least 1.
        guard: Above 0 and at most 1; None for no guard.
        skip: How many of the nearest that are left are passed over as well, at least 0.
        sampling: ``top`` takes the nearest, ``random`` draws from the ``depth`` nearest, without replacement.
        depth: At least ``count``, by default ten times that; only with ``random``.
        seed: Decides what ``random`` draws, at least 0.

    Raises:
        OptionError: If an option is out of range, or the embeddings do not fit the match set.
        EncoderError: If an embedding is not finite, or longer than 1.
    """
    _check(queries, contents, matches, count, guard, skip, seed)
    width = _width(count, sampling, depth)
    positive = mean_positive(queries, contents, matches)
    below = None
    if guard is not None:
        below = bounds(positive, guard)
    found = nearest(queries, contents, skip + width, keep=_Known(matches).leave_out, below=below)
    rows, cosine = found.rows[:, skip:], found.cosine[:, skip:]
    if sampling == "random":
        slots = _drawn(rows, count, np.random.default_rng(seed))
        rows, cosine = np.take_along_axis(rows, slots, 1), np.take_along_axis(cosine, slots, 1)
    return Mined(
        rows=rows,
        cosine=cosine,
        found=int((rows >= 0).sum()),
        short=int((rows[:, -1] < 0).sum()),
        guarded=int(found.passed.sum()),
        unguarded=int(np.isnan(positive).sum()),
    )


def mine_negatives(encoder: Encoder, matches: MatchSet, **options: Unpack[MiningOptions]) -> Mined:
    """Embed the contents of a match set, and its anchors as queries, and mine.

    Args:
        encoder: The model whose mistakes are looked for.
        matches: The match data.
        options: Those of :func:`mine`.

    Raises:
        OptionError: As :func:`mine` does.
        EncoderError: If the encoder does not take such contents, or what it makes is not finite.
    """
    vectors = encoder.embed_vectors(matches.contents)
    queries = encoder.finish_all(vectors[matches.anchors], "query")
    return mine(queries, encoder.finish_all(vectors, "document"), matches, **options)


class _Lists:
    """A list of rows for each key.

    Args:
        keys: Whose row it is, (P,).
        rows: The rows, (P,).
        count: Of the keys, which are below it.
    """

    def __init__(self, keys: Rows, rows: Rows, count: int) -> None:
        order = np.argsort(keys, kind="stable")
        self._rows = rows[order]
        self._offsets = np.searchsorted(keys[order], np.arange(count + 1))

    def of(self, keys: Rows) -> Iterator[tuple[Rows, Rows]]:
        """Yield (index into ``keys``, row) for each row of their lists, about four million at a time."""
        first, counts = self._offsets[keys], self._offsets[keys + 1] - self._offsets[keys]
        ends = np.cumsum(counts)
        starts = ends - counts
        at = 0
        while at < len(keys):
            end = max(at + 1, int(np.searchsorted(ends, starts[at] + _PAIRS, side="right")))
            owner = np.repeat(np.arange(at, end), counts[at:end])
            yield owner, self._rows[(first - starts)[owner] + np.arange(starts[at], ends[end - 1])]
            at = end


class _Known:
    """What is no negative of an anchor, or one already."""

    def __init__(self, matches: MatchSet) -> None:
        owner, size = matches.anchor_of, len(matches.ids)
        self._anchors = matches.anchors
        self._judged = _Lists(owner, matches.matches, len(matches))
        self._groups = positive_groups(matches)
        if self._groups is not None:
            self._members = _Lists(self._groups, np.arange(size), int(self._groups.max()) + 1)
        positive = matches.labels > 0
        ends = matches.anchors[owner[positive]], matches.matches[positive]
        self._steps = _Lists(np.concatenate(ends), np.concatenate(ends[::-1]), size)

    def leave_out(self, anchors: Rows, columns: slice, cosine: Tensor) -> None:
        """Set the cosines of some anchors with what is known of them to -inf, in place."""
        for owner, row in self._pairs(anchors):
            inside = (row >= columns.start) & (row < columns.stop)
            at = torch.from_numpy(owner[inside]), torch.from_numpy(row[inside] - columns.start)
            cosine[at] = -torch.inf

    def _pairs(self, anchors: Rows) -> Iterator[tuple[Rows, Rows]]:
        """Yield (index into ``anchors``, row), some of them several times."""
        rows = self._anchors[anchors]
        yield np.arange(len(rows)), rows
        yield from self._judged.of(anchors)
        if self._groups is not None:
            yield from self._members.of(self._groups[rows])
            return
        for owner, middle in self._steps.of(rows):
            yield owner, middle
            for step, row in self._steps.of(middle):
                yield owner[step], row


def bounds(positive: NDArray[np.float64], guard: float) -> Embeddings:
    """Return the cosine above which a content is likely to be right, float32 (A,); infinite where nothing tells.

    Args:
        positive: What :func:`mean_positive` returned, (A,).
        guard: See :func:`mine`.
    """
    bound = positive - (1 - guard) * np.abs(positive)
    return np.where(np.isnan(bound), np.inf, bound).astype(np.float32)


def mean_positive(queries: Embeddings, contents: Embeddings, matches: MatchSet) -> NDArray[np.float64]:
    """Return the mean cosine of each anchor with its positives, NaN if it has none, (A,)."""
    positive = matches.labels > 0
    owner, match = matches.anchor_of[positive], matches.matches[positive]
    cosine = np.empty(len(owner))
    step = max(1, _PAIRS // contents.shape[1])
    for at in range(0, len(owner), step):
        part = slice(at, at + step)
        cosine[part] = np.einsum("pd,pd->p", queries[owner[part]], contents[match[part]])
    counts = np.bincount(owner, minlength=len(matches)).astype(np.float64)
    counts[counts == 0] = np.nan
    return np.bincount(owner, cosine, len(matches)) / counts


def _drawn(rows: Rows, count: int, random: np.random.Generator) -> Rows:
    """Return which slots are drawn, ascending; those without a row last, (A, count)."""
    key = random.random(rows.shape)
    key[rows < 0] = 2
    return np.sort(np.argsort(key, axis=1, kind="stable")[:, :count], axis=1)


def _width(count: int, sampling: Sampling, depth: int | None) -> int:
    """Return how many contents are looked at for each anchor."""
    if sampling == "top" and depth is None:
        return count
    if sampling != "random":
        raise OptionError(f"sampling={sampling!r}, depth={depth}: give 'top' without depth, or 'random'")
    if depth is not None and depth < count:
        raise OptionError(f"depth is {depth}; give at least count={count}")
    return 10 * count if depth is None else depth


def _check(
    queries: Embeddings,
    contents: Embeddings,
    matches: MatchSet,
    count: int,
    guard: float | None,
    skip: int,
    seed: int,
) -> None:
    fit = (len(queries), len(contents)) == (len(matches), len(matches.ids))
    if not fit or queries.shape[1:] != contents.shape[1:]:
        raise OptionError(
            f"queries {queries.shape}, contents {contents.shape}: give a row for each of the {len(matches)} anchors "
            f"and one for each of the {len(matches.ids)} contents, all of one dimension"
        )
    if guard is not None and not 0 < guard <= 1:
        raise OptionError(f"guard is {guard!r}; give a number above 0 and at most 1, or None for no guard")
    for name, value, least in (("count", count, 1), ("skip", skip, 0), ("seed", seed, 0)):
        if value < least:
            raise OptionError(f"{name} is {value!r}; give a whole number of at least {least}")
