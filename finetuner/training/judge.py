"""A candidate after its training: where on the line it stays, and how it ranks where nobody trained it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetuner.features import FeatureCache
from finetuner.lifecycle.gate import FEWEST
from finetuner.matches import MatchSet, Parts
from finetuner.models import Encoder
from finetuner.training.compare import compare, decides, rank, rank_by, rankable, used_rows
from finetuner.training.line import Line, chosen
from finetuner.training.options import TrainingOptions
from finetuner.training.recipes import cached
from finetuner.training.vectors import CachedVectors
from finetuner.training.watch import Report


def stay(
    line: Line,
    encoder: Encoder,
    validation: MatchSet,
    options: TrainingOptions,
    *,
    cache: FeatureCache | None,
    report: Report,
) -> None:
    """Leave an encoder where on its line it ranks best for validation anchors, and report ``line``.

    With fewer of these than the gate asks for, it stays where the training ended: what is best for so few is chance.

    Args:
        line: From where it began to where it is.
        encoder: As the training left it.
        validation: Anchors that it did not learn from.
        options: Which shares are tried, and the metric.
        cache: What its frozen module makes of contents; None if the module was trained.
        report: Receives the event: ``share``, the one that was taken, and the ``scores`` of all.
    """
    known = len(rankable(validation, decides(validation)))
    if not options.interpolate or known < FEWEST:
        return

    # once for all shares: a frozen module makes the same of a content at each of them
    vectors = None if cache is None else CachedVectors(encoder, cached(encoder, validation, cache))

    def score(one: Encoder) -> float:
        if vectors is None:
            metrics = rank(one, validation)
        else:
            metrics = rank_by(vectors.embeddings, validation, sides=one.heads.tell_sides_apart)
        return 0.0 if metrics is None else metrics.mean()[options.primary]

    scores = line.walk(encoder, options.interpolate, score)
    told = {f"{share:g}": round(value, 6) for share, value in scores.items()}
    report("line", {"share": chosen(scores), "scores": told})


def judge(
    encoders: Mapping[str, Encoder],
    parts: Parts,
    guards: Mapping[str, MatchSet],
    options: TrainingOptions,
    *,
    cache: FeatureCache,
) -> dict[str, Any]:
    """Return how encoders rank for anchors that the last one has not seen.

    Args:
        encoders: By name; the last one is the candidate.
        parts: Anchors for training and for validation, which it has seen, and those held out.
        guards: Other match data, by name, on which the candidate should not be worse; of labels the sign counts.
        options: The metric, the confidence, and the seed of the resamples.
        cache: Keeps what modules make of contents.

    Returns:
        See :func:`compare`; ``seen_contents``, how many contents of the held-out anchors were among those learnt from;
        ``primary`` and ``confidence``, by which gains are told; and ``guards``, the same by name of the guard, with
        ``left_out``, its anchors that were among those seen.
    """
    training, validation, holdout = parts

    def compared(matches: MatchSet) -> dict[str, Any]:
        return compare(
            encoders,
            matches,
            seed=options.seed,
            primary=options.primary,
            confidence=options.confidence,
            cache=cache,
        )

    evaluation = compared(holdout)
    evaluation["seen_contents"] = int(np.isin(used_rows(holdout), used_rows(training)).sum())
    evaluation |= {"primary": options.primary, "confidence": options.confidence, "guards": {}}
    seen = np.concatenate([_anchors(training), _anchors(validation)])
    for name, guard in guards.items():
        known = np.isin(_anchors(guard), seen)
        evaluation["guards"][name] = {**compared(guard.only(~known)), "left_out": int(known.sum())}
    return evaluation


def _anchors(matches: MatchSet) -> NDArray[Any]:
    """Return the hashes of the contents of anchors, one value each."""
    return np.ascontiguousarray(matches.hashes[matches.anchors]).view("S16").ravel()
