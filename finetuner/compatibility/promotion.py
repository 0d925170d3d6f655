"""What comes with a new version so that an index of an older one stays of use: maps, and what they are worth."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from finetuner.compatibility.fitting import FEWEST, Fitted, fit_map
from finetuner.compatibility.kept import CANDIDATE, write_map, write_spaces
from finetuner.compatibility.maps import Map
from finetuner.compatibility.recalls import Relevant, recalls
from finetuner.compatibility.stamped import Stamped
from finetuner.features import FeatureCache
from finetuner.matches import MatchSet, Parts, Rows
from finetuner.models import CachedEncoder, Encoder, Side
from finetuner.models.heads import HeadSpec

ENOUGH = 200
"""Contents that training has not seen, below which those that it has seen are taken too; a guess."""

_MOST = 20_000  # contents that a map is fitted to: more teach it little
_MOST_QUERIES = 1_000  # as the bootstrap over them, and their documents, should not take long
_NEAREST = 10


def fit_maps(
    candidate: Encoder,
    rivals: Mapping[str, Encoder],
    *,
    parts: Parts,
    cache: FeatureCache,
    folder: Path,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Fit a map into the space of each older version, judge it, and write it into the folder of the new one.

    A map is fitted to contents of the validation and holdout parts that training has not seen; to those of training too
    where these are fewer than :data:`ENOUGH`. It is never fitted to the held-out anchors: these ask, a thousand of them
    at most, and what they ask is what was fitted to, and all that they judged.

    Args:
        candidate: The new version.
        rivals: Older ones, by name.
        parts: The anchors that the new version has learnt from, those that choices were made by, and those held out, of one
            match set.
        cache: Keeps what modules make of contents.
        folder: That of the new version, before it is sealed.
        seed: Decides what is drawn.

    Returns:
        For each older version ``same_documents``, if both make bit for bit the same of a document, so that no map is
        needed. Else ``kind`` of the map, ``contents`` it was fitted to, whether these were ``unseen`` by training, and
        ``kept`` of each kind, as in :class:`finetuner.compatibility.Figures`; and, if there are held-out anchors,
        ``recall`` and ``lost`` by route, over ``k`` nearest of ``documents``, for ``queries``, where what was ``judged``
        positive is relevant, or else the ``nearest`` in the new space. Or ``reason``, why there is no map.

    Raises:
        EncoderError: If an encoder does not take such contents.
        OSError: If a map or the cache cannot be written.
    """
    holdout = parts[2]
    pairs = _pairs(parts, seed)
    asking = _asking(holdout, seed)
    new = _Embedding(candidate, CANDIDATE, holdout, cache)
    figures: dict[str, dict[str, Any]] = {}
    for name, rival in rivals.items():
        if same_documents(candidate, rival):
            figures[name] = {"same_documents": True}
        elif len(pairs.rows) < FEWEST:
            few = f"{len(pairs.rows)} contents are too few to fit a map to; {FEWEST} are needed"
            figures[name] = {"same_documents": False, "reason": few}
        else:
            old = _Embedding(rival, name, holdout, cache)
            fitted = fit_map(old.of(pairs.rows), new.of(pairs.rows), seed=seed)
            write_map(folder, name, fitted.map)
            judged = _judged(fitted.map, old, new, asking, pairs.rows, seed)
            figures[name] = {"same_documents": False, **_told(fitted, pairs), **judged}
    write_spaces(folder, figures)
    return figures


def same_documents(one: Encoder, other: Encoder) -> bool:
    """Return whether two encoders make the same of each document, bit for bit, whatever they make of queries."""
    mine, theirs = _document_heads(one), _document_heads(other)
    if [spec for spec, _ in mine] != [spec for spec, _ in theirs] or one.fingerprint() != other.fingerprint():
        return False
    return all(
        torch.equal(value, their_state[name])
        for (_, my_state), (_, their_state) in zip(mine, theirs, strict=True)
        for name, value in my_state.items()
    )


def _document_heads(encoder: Encoder) -> list[tuple[HeadSpec, dict[str, Tensor]]]:
    heads = zip(encoder.heads.specs, encoder.heads.layers, strict=True)
    return [(spec, layer.state_dict()) for spec, layer in heads if not spec.queries_only]


@dataclass(frozen=True)
class _Pairs:
    """Rows of the contents that maps are fitted to, and whether training has not seen them."""

    rows: Rows
    unseen: bool


def _pairs(parts: Parts, seed: int) -> _Pairs:
    training, validation, holdout = parts
    others = np.union1d(_used(validation), _used(holdout))
    rows = np.setdiff1d(np.setdiff1d(others, _used(training)), holdout.anchors)
    unseen = len(rows) >= ENOUGH
    if not unseen:
        rows = np.setdiff1d(np.union1d(others, _used(training)), holdout.anchors)
    return _Pairs(np.sort(np.random.default_rng(seed).permutation(rows)[:_MOST]), unseen)


def _asking(holdout: MatchSet, seed: int) -> MatchSet:
    """Return the held-out anchors that ask: those with a positive, if there are any."""
    positive = np.unique(holdout.owners(np.flatnonzero(holdout.labels > 0)))
    able = positive if len(positive) else np.arange(len(holdout))
    return holdout.only(np.sort(np.random.default_rng(seed).permutation(able)[:_MOST_QUERIES]))


def _used(matches: MatchSet) -> Rows:
    return np.union1d(matches.anchors, matches.matches)


class _Embedding:
    """Embeds contents of a match set as one version does."""

    def __init__(self, encoder: Encoder, version: str, matches: MatchSet, cache: FeatureCache) -> None:
        self._encoder = CachedEncoder(encoder, cache)
        self._version = version
        self._matches = matches

    def of(self, rows: Rows, side: Side = "document") -> Stamped:
        """Return the embeddings of some rows."""
        contents, hashes = self._matches.contents, self._matches.hashes
        return Stamped(self._version, self._encoder.embed(contents, hashes, rows, side))


def _told(fitted: Fitted, pairs: _Pairs) -> dict[str, Any]:
    return {
        "kind": fitted.map.kind,
        "contents": fitted.figures.contents,
        "unseen": pairs.unseen,
        "kept": fitted.figures.kept,
    }


def _judged(
    between: Map, old: _Embedding, new: _Embedding, asking: MatchSet, pairs: Rows, seed: int
) -> dict[str, Any]:
    """Return what the routes find for held-out anchors; nothing without any."""
    documents = np.union1d(pairs, _used(asking))
    k = min(_NEAREST, len(documents) - 1)
    if not len(asking) or k < 1:
        return {}
    positive = asking.labels > 0
    relevant = (
        Relevant(asking.anchor_of[positive], np.searchsorted(documents, asking.matches[positive]))
        if positive.any()
        else None
    )
    found = recalls(
        between,
        old.of(asking.anchors, "query"),
        new.of(asking.anchors, "query"),
        old.of(documents),
        new.of(documents),
        relevant=relevant,
        themselves=np.searchsorted(documents, asking.anchors),
        k=k,
        seed=seed,
    )
    return {
        "recall": dict(found.recall),
        "lost": {route: list(one) for route, one in found.lost.items()},
        "k": k,
        "queries": found.queries,
        "documents": len(documents),
        "relevant": "nearest" if relevant is None else "judged",
    }
