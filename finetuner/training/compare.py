"""How encoders rank for the same anchors, side by side."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from finetuner.documents import MatchDocumentLike
from finetuner.evaluation import Metrics, Over, by_judgements, paired_difference
from finetuner.features import FeatureCache
from finetuner.matches import MatchSet, Rows
from finetuner.models import CachedEncoder, Embeddings, Encoder, Side

PRIMARY = "map"
"""The metric that decides unless another is named."""

Embed = Callable[[Rows, Side], Embeddings]
"""Returns embeddings, float32 (n, D), of rows of a match set as queries or as documents."""


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


def compare(
    encoders: Mapping[str, Encoder],
    holdout: MatchSet,
    *,
    seed: int,
    primary: str = PRIMARY,
    confidence: float = 0.95,
    cache: FeatureCache | None = None,
) -> dict[str, Any]:
    """Return how encoders rank for the same held-out anchors.

    Args:
        encoders: By name; the last one is the candidate.
        holdout: The anchors.
        seed: Decides the resamples of the bootstrap.
        primary: The metric in which gains are told.
        confidence: Of their intervals.
        cache: Where what modules make of contents is kept, and found again; None if it is not worth it.

    Returns:
        ``anchors``, the number of anchors that could be ranked; ``metrics``, the means by encoder and metric; and
        ``gain``, for each encoder but the last the difference last - encoder in the primary metric as (mean, low, high)
        with an interval of the paired bootstrap.
    """
    ranked = {name: rank(encoder, holdout, cache=cache) for name, encoder in encoders.items()}
    known = {name: metrics for name, metrics in ranked.items() if metrics is not None}
    if not known:
        return {"anchors": 0, "metrics": {}, "gain": {}}
    candidate = list(known.values())[-1]

    def gain(rival: Metrics) -> list[float]:
        ours, theirs = candidate.per_query[primary], rival.per_query[primary]
        return list(paired_difference(ours, theirs, seed=seed, confidence=confidence))

    return {
        "anchors": candidate.queries,
        "metrics": {name: metrics.mean() for name, metrics in known.items()},
        "gain": {name: gain(metrics) for name, metrics in list(known.items())[:-1]},
    }


def rank(encoder: Encoder, matches: MatchSet, *, cache: FeatureCache | None = None) -> Metrics | None:
    """Return how an encoder ranks for the anchors of a set, see :func:`rank_by`."""
    cached = CachedEncoder(encoder, cache)

    def embed(rows: Rows, side: Side) -> Embeddings:
        return cached.embed(matches.contents, matches.hashes, rows, side)

    return rank_by(embed, matches, sides=encoder.heads.tell_sides_apart)


def rank_by(embed: Embed, matches: MatchSet, *, sides: bool) -> Metrics | None:
    """Return how embeddings rank for the anchors of a set, or None if no anchor has a positive.

    Where most anchors with a positive have a negative too, those that do rank their own judged matches: what
    nobody judged cannot count against a model. Else all of them look for their positives in the corpus.

    Args:
        embed: Makes the embeddings.
        matches: The anchors.
        sides: Whether a content has another embedding as a query than as a document.
    """
    if not len(rankable(matches, "corpus")):
        return None
    if decides(matches) == "judged":
        matches = matches.only(rankable(matches, "judged"))
        rows = used_rows(matches)
        some = embed(rows, "document")
        embeddings = np.zeros((len(matches.ids), some.shape[1]), np.float32)
        embeddings[rows] = some
        queries = embed(matches.anchors, "query") if sides else None
        return by_judgements(embeddings, matches, over="judged", queries=queries)
    embeddings = embed(np.arange(len(matches.ids)), "document")
    queries = embed(matches.anchors, "query") if sides else None
    return by_judgements(embeddings, matches, over="corpus", queries=queries)


def decides(matches: MatchSet) -> Over:
    """Return what is ranked where it decides: the judged matches, if most anchors with a positive have a negative too."""
    return "judged" if 2 * len(rankable(matches, "judged")) > len(rankable(matches, "corpus")) else "corpus"


def rankable(matches: MatchSet, over: Over) -> Rows:
    """Return which anchors can be ranked: those with a positive, and if only judged matches are, a negative too."""
    positive = np.unique(matches.owners(np.flatnonzero(matches.labels > 0)))
    if over == "corpus":
        return positive
    return np.intersect1d(positive, matches.owners(np.flatnonzero(matches.labels < 0)))


def used_rows(matches: MatchSet) -> Rows:
    """Return the rows of contents that are anchors or judged, ascending."""
    return np.unique(np.concatenate([matches.anchors, matches.matches]))
