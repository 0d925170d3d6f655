"""How encoders rank for the same anchors, side by side."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from finetuner.documents import MatchDocumentLike
from finetuner.evaluation import Metrics, by_judgements, paired_difference
from finetuner.matches import MatchSet, Rows
from finetuner.models import Embeddings, Encoder

PRIMARY = "map"
"""The metric that decides."""


def evaluate(
    encoders: Encoder | Mapping[str, Encoder],
    matches: MatchSet | Iterable[MatchDocumentLike],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Return how one or several encoders rank for the anchors of match data.

    Args:
        encoders: One encoder, or several by name; the last one is the candidate that the others are held against.
        matches: A match set, or any iterable of match Documents.
        seed: Decides the resamples of the bootstrap.

    Returns:
        See :func:`compare`.
    """
    named = {"encoder": encoders} if isinstance(encoders, Encoder) else encoders
    if not isinstance(matches, MatchSet):
        first = next(iter(named.values()))
        matches = MatchSet.from_documents(matches, kind=first.kind, floats=first.takes_floats)
    return compare(named, matches.with_values(None, None), seed=seed)


def compare(encoders: Mapping[str, Encoder], holdout: MatchSet, *, seed: int) -> dict[str, Any]:
    """Return how encoders rank for the same held-out anchors.

    Returns:
        ``anchors``, the number of anchors that could be ranked; ``metrics``, the means by encoder and metric; and
        ``gain``, for each encoder but the last the difference last - encoder in MAP as (mean, low, high) with a
        95 % interval of the paired bootstrap.
    """
    ranked = {name: rank(encoder, holdout) for name, encoder in encoders.items()} if len(holdout) else {}
    known = {name: metrics for name, metrics in ranked.items() if metrics is not None}
    if not known:
        return {"anchors": 0, "metrics": {}, "gain": {}}
    candidate = list(known.values())[-1]
    return {
        "anchors": candidate.queries,
        "metrics": {name: metrics.mean() for name, metrics in known.items()},
        "gain": {name: _gain(candidate, metrics, seed) for name, metrics in list(known.items())[:-1]},
    }


def _gain(candidate: Metrics, rival: Metrics, seed: int) -> list[float]:
    return list(paired_difference(candidate.per_query[PRIMARY], rival.per_query[PRIMARY], seed=seed))


def rank(encoder: Encoder, matches: MatchSet) -> Metrics | None:
    """Return how an encoder ranks for the anchors of a set, or None if no anchor has a positive.

    Where most anchors with a positive have a negative too, those that do rank their own judged matches: what
    nobody judged cannot count against a model. Else all of them look for their positives in the corpus.
    """
    positive = np.bincount(matches.anchor_of[matches.labels > 0], minlength=len(matches)) > 0
    negative = np.bincount(matches.anchor_of[matches.labels < 0], minlength=len(matches)) > 0
    if 2 * (positive & negative).sum() > positive.sum():
        chosen = matches.only(positive & negative)
        return by_judgements(embed_used(encoder, chosen), chosen, over="judged")
    if positive.any():
        return by_judgements(encoder.embed(matches.contents), matches, over="corpus")
    return None


def embed_used(encoder: Encoder, matches: MatchSet) -> Embeddings:
    """Return embeddings, float32 (N, D), for those contents that are anchors or judged; the others are zeros."""
    rows = used_rows(matches)
    some = encoder.embed(matches.take(rows))
    embeddings = np.zeros((len(matches.ids), some.shape[1]), np.float32)
    embeddings[rows] = some
    return embeddings


def used_rows(matches: MatchSet) -> Rows:
    """Return the rows of contents that are anchors or judged, ascending."""
    return np.unique(np.concatenate([matches.anchors, matches.matches]))
