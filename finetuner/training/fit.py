"""One run in one call: split, train, and judge the result on anchors that it never saw."""

import copy
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetuner.documents import MatchDocumentLike
from finetuner.errors import NothingToLearnError
from finetuner.lifecycle.version import write_version
from finetuner.matches import MatchSet
from finetuner.models import Encoder, EncoderSpec, build_encoder
from finetuner.training.compare import compare, used_rows
from finetuner.training.loop import Report, train
from finetuner.training.options import TrainingOptions


@dataclass(frozen=True)
class FitResult:
    """A tuned encoder and what it is worth.

    Attributes:
        encoder: The tuned encoder; the one that was given is unchanged.
        evaluation: See :func:`compare`; empty metrics if there were no held-out anchors to judge.
        events: What the run reported, in order.
    """

    encoder: Encoder
    evaluation: dict[str, Any]
    events: list[dict[str, Any]]

    def save(self, folder: str | Path) -> None:
        """Write the tuned encoder into a new folder, from which :func:`finetuner.load` reads it."""
        path = Path(folder)
        self.encoder.save(path)
        write_version(path, self.encoder.spec, {"version": path.name, "evaluation": self.evaluation})


def fit(
    encoder: Encoder | str,
    matches: MatchSet | Iterable[MatchDocumentLike],
    **options: Any,
) -> FitResult:
    """Tune an encoder on match data and judge it on held-out anchors.

    Args:
        encoder: An encoder, or the name of one: ``mlp``, ``cnn``, ``bilstm``, the path of a
            sentence-transformers folder, or ``package.module:factory``.
        matches: A match set, or any iterable of match Documents.
        options: See :class:`TrainingOptions`.

    Raises:
        OptionError: If an option is unknown or out of range.
        MatchDataError: If the match data cannot be used.
        TrainingError: If there is nothing to learn, or the loss diverges.
    """
    chosen = TrainingOptions.parse(options, where="fit")
    base = encoder if isinstance(encoder, Encoder) else build_encoder(EncoderSpec(encoder), seed=chosen.seed)
    if not isinstance(matches, MatchSet):
        matches = MatchSet.from_documents(matches, kind=base.kind, floats=base.takes_floats)
    events: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        tuned, evaluation = tune(
            copy.deepcopy(base),
            matches,
            chosen,
            rivals={"base": base},
            folder=Path(folder),
            report=lambda event, figures: events.append({"event": event, **figures}),
        )
    return FitResult(tuned, evaluation, events)


def tune(
    encoder: Encoder,
    matches: MatchSet,
    options: TrainingOptions,
    *,
    rivals: Mapping[str, Encoder],
    folder: Path,
    report: Report,
) -> tuple[Encoder, dict[str, Any]]:
    """Train ``encoder`` in place on most anchors, and compare it with its rivals on those held out.

    Args:
        encoder: Where the training starts.
        matches: All match data of the run.
        options: How.
        rivals: Encoders to compare with, by the name under which they are reported.
        folder: Receives the weights of the best epoch.
        report: Receives a ``split`` event, those of :func:`train`, and an ``evaluated`` event.

    Returns:
        The encoder after its best epoch, and the comparison.
    """
    zeros = int((matches.labels == 0).sum())
    matches = matches.with_values(options.positive_label, options.negative_label)
    _check_labels(matches, options)
    rest, holdout = matches.split(options.holdout, seed=options.seed)
    training, validation = rest.split(options.validation / (1 - options.holdout), seed=options.seed + 1)
    sizes = {"training": len(training), "validation": len(validation), "holdout": len(holdout)}
    report("split", {**sizes, **_described(matches, zeros=zeros)})
    if not len(training):
        raise NothingToLearnError(
            f"all of the {len(matches)} anchors are held out; add anchors, or set validation and holdout lower"
        )
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay the caller's
        tuned = train(encoder, training, validation, options, checkpoint=folder, report=report)
    evaluation = compare({**rivals, "candidate": tuned}, holdout, seed=options.seed)
    evaluation["seen_contents"] = int(np.isin(used_rows(holdout), used_rows(training)).sum())
    report("evaluated", evaluation)
    return tuned, evaluation


def _check_labels(matches: MatchSet, options: TrainingOptions) -> None:
    if not (matches.labels > 0).any():
        raise NothingToLearnError(
            f"none of the {len(matches.labels)} judgements is positive; label some matches above 0"
        )
    if options.loss == "cosine" and not options.uses_in_batch_negatives and not (matches.labels < 0).any():
        raise NothingToLearnError(
            "no judgement is negative, and loss 'cosine' would pull all onto one point; "
            "label some matches below 0, or use loss 'infonce'"
        )


def _described(matches: MatchSet, *, zeros: int) -> dict[str, Any]:
    """Return what the match data holds, what the builder settled, and what a user may not have meant."""
    positive, negative = int((matches.labels > 0).sum()), int((matches.labels < 0).sum())
    described = {"contents": len(matches.ids), "judgements": len(matches.labels)}
    described |= {"positive": positive, "negative": negative}
    described |= {name: count for name, count in asdict(matches.findings).items() if count}
    if zeros and not negative:
        hint = "labels of 0 judge nothing; if 0 means irrelevant, give positive_label=1 and negative_label=0"
        return {**described, "zero": zeros, "hint": hint}
    return described
