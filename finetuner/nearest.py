"""The nearest contents of a corpus, exactly, in blocks.

What takes time is the product of all queries with all contents. On a CPU that multiplies bfloat16 natively this is
done in bfloat16, four times as fast as in float32, and taken for what it is: a filter. Its error is bounded (see
:class:`_Side`), some candidates more than were asked for are looked at in float32, and the bound then proves for nearly
every query that nothing else can be among the nearest. The few queries without a proof are done again in float32.

Finding the largest of a hundred thousand numbers, a row at a time, would take as long as the product. Of chunks of 64
numbers only the maxima are read: the k largest numbers lie in the k chunks with the largest maxima.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetuner.errors import EncoderError, OptionError
from finetuner.matches import Rows
from finetuner.processor import multiplies_bfloat16

Embeddings = NDArray[np.float32]
Keep = Callable[[Rows, slice, Tensor], None]

_CHUNK = 64  # columns with one maximum
_BLOCK = 512  # queries at a time
_SPAN = 1 << 17  # contents at a time
_CELLS = 1 << 23  # products of queries that are searched in float32 together
_SLACK = 32  # candidates beyond those that are asked for, at first
_MOST_SLACK = 128  # where those do not suffice
_LONGEST = 1.001  # that an embedding may be
_BFLOAT16 = 2.0**-8  # relative error of a number that is rounded to bfloat16
_SUMMING = 2.0**-22  # error of a product of two vectors for each of their dimensions, twice what it can be


class Nearest(NamedTuple):
    """The nearest contents of each query.

    Attributes:
        cosine: Descending; equal ones by ascending row. -inf where there are not that many, float32 (Q, count).
        rows: Rows of the corpus; -1 where there are not that many, int64 (Q, count).
        passed: Whether the bound ``below`` left out something, bool (Q,).
    """

    cosine: Embeddings
    rows: Rows
    passed: NDArray[np.bool_]


def nearest(
    queries: Embeddings,
    corpus: Embeddings,
    count: int,
    *,
    keep: Keep | None = None,
    below: Embeddings | None = None,
) -> Nearest:
    """Return the contents with the highest cosines for each query.

    The result is exact but for the rounding of float32, and the same for the same input. Beside input and output it
    takes up to 0.5 GB, and 6 bytes for each number of the corpus, of at most 131,072 of its rows at a time; so both
    may be memory-mapped and larger than memory.

    Args:
        queries: L2-normalised, float32 (Q, D).
        corpus: L2-normalised, float32 (N, D).
        count: How many, at least 1.
        keep: Called with (rows of queries (B,), slice of the corpus, cosines (B, S)) before anything is chosen; it
            sets to -inf, in place, what shall not be chosen. It has to go by rows: the cosines are rounded to what
            the filter works in. It may be asked twice about the same.
        below: For each query the highest cosine that may be chosen, float32 (Q,); infinite for no bound.

    Raises:
        OptionError: If the shapes do not fit each other, or ``count`` is below 1.
        EncoderError: If an embedding is not finite, or longer than 1.
    """
    _check(queries, corpus, count, below)
    bound = torch.full((len(queries),), torch.inf) if below is None else torch.tensor(below)
    best = _Best(len(queries), count)
    for columns in _slices(len(corpus), _SPAN):
        filter_ = _Filter(_filter_dtype())
        span = _Side.of(corpus[columns], filter_.dtype)
        for rows in _slices(len(queries), _BLOCK):
            at = torch.arange(rows.start, rows.stop)
            block = _Block(at, _Side.of(queries[rows], filter_.dtype), bound[rows], keep)
            span = span if filter_.dtype == span.rounded.dtype else span.exact()
            unproven = _search(block, span, columns, best, filter_.slack)
            filter_.learn(len(unproven), len(at))
            if len(unproven) and not span.is_exact:
                block = block.exact(unproven)
                unproven = _search(block, span.exact(), columns, best, _SLACK)
            for piece in _slices(len(unproven), max(1, _CELLS // len(span.full))):
                _search_exactly(block.exact(unproven[piece]), span.exact(), columns, best)
    return Nearest(best.cosine.numpy(), best.rows.numpy(), best.passed.numpy())


@dataclass(frozen=True)
class _Side:
    """Embeddings on one side of the product, padded to whole chunks.

    With q = q' + e and c = c' + f, where q' and c' are rounded, qc - q'c' = ec + q'f. So the lengths of what was
    rounded off, |e| + |f|, bound the error of the product of vectors of length 1.

    Attributes:
        length: How many there are without the padding.
        full: In float32, (n, D).
        rounded: What is multiplied, (n, D).
        error: The length of what was rounded off, and a little more, as vectors may be a little longer than 1, (n,).
    """

    length: int
    full: Tensor
    rounded: Tensor
    error: Tensor

    @classmethod
    def of(cls, embeddings: Embeddings, dtype: torch.dtype) -> "_Side":
        full = torch.zeros(-(-len(embeddings) // _CHUNK) * _CHUNK, embeddings.shape[1])
        full.numpy()[: len(embeddings)] = embeddings
        length = torch.linalg.vector_norm(full, dim=1)
        unfit = length[~(length < _LONGEST)]
        if len(unfit):
            raise EncoderError(f"an embedding has the length {unfit[0]:g}; give finite, L2-normalised ones")
        if dtype == full.dtype:
            return cls(len(embeddings), full, full, torch.zeros(len(full)))
        rounded = full.to(dtype)
        parts = _slices(len(full), _BLOCK)
        error = torch.cat([torch.linalg.vector_norm(full[part] - rounded[part], dim=1) for part in parts])
        return cls(len(embeddings), full, rounded, 1.01 * error)

    @property
    def is_exact(self) -> bool:
        """Whether nothing was rounded off."""
        return self.rounded is self.full

    def exact(self) -> "_Side":
        """Return the same, to be multiplied in float32."""
        return _Side(self.length, self.full, self.full, torch.zeros(len(self.full)))


@dataclass
class _Filter:
    """How the filter works; where it fails for many queries of a block it looks at more from then on, or stops rounding.

    Attributes:
        dtype: What it works in.
        slack: How many candidates it takes beyond those that are asked for.
    """

    dtype: torch.dtype
    slack: int = _SLACK

    def learn(self, failed: int, queries: int) -> None:
        if 4 * failed <= queries:
            return
        if self.slack == _MOST_SLACK:
            self.dtype = torch.float32
        self.slack = _MOST_SLACK


@dataclass(frozen=True)
class _Block:
    """Some queries: their rows, (B,), embeddings, and the highest cosines that may be chosen, (B,)."""

    rows: Tensor
    side: _Side
    bound: Tensor
    keep: Keep | None

    def cosines(self, span: _Side, columns: slice) -> Tensor:
        """Return the product with the contents of a span, -inf where nothing may be chosen, (B, n)."""
        cosine = torch.mm(self.side.rounded[: len(self.rows)], span.rounded.T)
        cosine[:, span.length :] = -torch.inf
        if self.keep is not None:
            self.keep(self.rows.numpy(), columns, cosine[:, : span.length])
        return cosine

    def exact(self, some: Tensor) -> "_Block":
        """Return some of the queries, to be multiplied in float32."""
        side = _Side.of(self.side.full[some].numpy(), torch.float32)
        return _Block(self.rows[some], side, self.bound[some], self.keep)


class _Best:
    """The nearest contents so far of each query."""

    def __init__(self, queries: int, count: int) -> None:
        self.count = count
        self.cosine = torch.full((queries, count), -torch.inf)
        self.rows = torch.full((queries, count), -1)
        self.passed = torch.zeros(queries, dtype=torch.bool)

    def with_candidates(self, at: Tensor, cosine: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return what (cosine, rows) of some queries become with candidates, each (B, count)."""
        cosine = torch.cat([self.cosine[at], cosine], dim=1)
        rows = torch.cat([self.rows[at], rows], dim=1)
        order = rows.argsort(dim=1)
        cosine, rows = cosine.gather(1, order), rows.gather(1, order)
        cosine, order = cosine.sort(dim=1, descending=True, stable=True)  # by row where they are equal
        rows = rows.gather(1, order).masked_fill_(cosine == -torch.inf, -1)
        return cosine[:, : self.count], rows[:, : self.count]


def _search(block: _Block, span: _Side, columns: slice, best: _Best, slack: int) -> Tensor:
    """Take in the nearest of a span; return which queries of the block lack the proof, and were left as they are."""
    cosine = block.cosines(span, columns)
    error = block.side.error[: len(block.rows)] + span.error.max() + _SUMMING * span.full.shape[1]
    wanted = min(span.length, best.count + max(slack, best.count // 2))
    seen, place, passed = _largest(cosine, wanted, block.bound + error)
    near = span.full.index_select(0, place.flatten()).view(*place.shape, -1)
    true = near.mul_(block.side.full[: len(block.rows), None]).sum(dim=2)
    too_near = (true > block.bound[:, None]) & (seen > -torch.inf)
    true.masked_fill_(too_near | (seen == -torch.inf), -torch.inf)
    found, rows = best.with_candidates(block.rows, true, place + columns.start)
    # whatever is no candidate was seen no higher than the last one
    last = seen[:, -1].float()
    highest = last + error + (0 if span.is_exact else _BFLOAT16 * last.abs())
    proven = (found[:, -1] > highest) | (last == -torch.inf) | (wanted == span.length)
    at = block.rows[proven]
    best.cosine[at], best.rows[at] = found[proven], rows[proven]
    best.passed[at] |= (passed | too_near.any(dim=1))[proven]
    return torch.nonzero(~proven).flatten()


def _search_exactly(block: _Block, span: _Side, columns: slice, best: _Best) -> None:
    """Take in the nearest of a span; of equal ones those with the lowest rows."""
    cosine = block.cosines(span, columns)
    too_near = cosine > block.bound[:, None]
    cosine.masked_fill_(too_near, -torch.inf)
    wanted = min(span.length, best.count)
    last = _largest(cosine, wanted, torch.full((len(cosine),), torch.inf))[0][:, -1:]
    higher = cosine > last
    equal = (cosine == last) & (last > -torch.inf)
    chosen = higher | (equal & (equal.cumsum(dim=1) <= wanted - higher.sum(dim=1, keepdim=True)))
    query, row = torch.nonzero(chosen, as_tuple=True)
    slot = torch.arange(len(query)) - torch.searchsorted(query, query)
    found = torch.full((len(cosine), wanted), -torch.inf)
    rows = torch.full((len(cosine), wanted), -1)
    found[query, slot], rows[query, slot] = cosine[query, row], row + columns.start
    best.cosine[block.rows], best.rows[block.rows] = best.with_candidates(block.rows, found, rows)
    best.passed[block.rows] |= too_near.any(dim=1)


def _largest(cosine: Tensor, count: int, most: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the largest numbers of each row that are not above a bound, exactly.

    Args:
        cosine: In whole chunks, (B, n).
        count: How many, at most n.
        most: The bounds, (B,).

    Returns:
        The numbers, descending, their columns, each (B, count), and whether any is above the bound, bool (B,).
    """
    most = most.to(cosine.dtype)[:, None]
    chunks = cosine.view(len(cosine), -1, _CHUNK)
    maxima, again = _maxima(chunks)
    query, chunk = torch.nonzero(again | (maxima > most), as_tuple=True)
    some = chunks[query, chunk]
    over = some > most[query]
    passed = torch.zeros(len(cosine), dtype=torch.bool).index_fill(0, query[over.any(dim=1)], True)
    maxima[query, chunk] = some.masked_fill_(over, -torch.inf).amax(dim=1)
    top = maxima.topk(min(count, maxima.shape[1]), sorted=False).indices
    inside = chunks[torch.arange(len(top))[:, None], top].flatten(1)
    values, place = inside.masked_fill_(inside > most, -torch.inf).topk(count)
    return values, top.gather(1, place // _CHUNK) * _CHUNK + place % _CHUNK, passed


def _maxima(chunks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maximum of each chunk, and where it still has to be found, each (B, n / 64)."""
    if chunks.dtype == torch.float32:
        maxima = chunks.amax(dim=2)
        return maxima, torch.zeros_like(maxima, dtype=torch.bool)
    # as integers the bits of numbers from 0 on ascend with them, and all others are below: five times as fast
    bits = chunks.view(torch.int16).amax(dim=2)
    return bits.view(chunks.dtype), bits < 0


def _filter_dtype() -> torch.dtype:
    """Return what the filter works in."""
    return torch.bfloat16 if multiplies_bfloat16() else torch.float32


def _slices(length: int, most: int) -> Iterator[slice]:
    """Yield slices of nearly equal length, as few as hold at most ``most`` each."""
    pieces = -(-length // most)
    for piece in range(pieces):
        yield slice(length * piece // pieces, length * (piece + 1) // pieces)


def _check(queries: Embeddings, corpus: Embeddings, count: int, below: Embeddings | None) -> None:
    if queries.ndim != 2 or corpus.ndim != 2 or queries.shape[1] != corpus.shape[1]:
        raise OptionError(f"queries {queries.shape}, corpus {corpus.shape}: give (Q, D) and (N, D)")
    if below is not None and below.shape != (len(queries),):
        raise OptionError(f"below {below.shape}: give one bound for each of the {len(queries)} queries")
    if count < 1:
        raise OptionError(f"count is {count!r}; give a whole number of at least 1")
