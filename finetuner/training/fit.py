"""One run in one call: split, train, and judge the result on anchors that it never saw."""

import contextlib
import copy
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from finetuner.documents import MatchDocumentLike
from finetuner.errors import NothingToLearnError
from finetuner.features import FeatureCache
from finetuner.groups import positive_groups
from finetuner.lifecycle.version import write_version
from finetuner.losses import make_objective
from finetuner.matches import MatchSet, Parts
from finetuner.models import Encoder, EncoderSpec, build_encoder
from finetuner.samplers import MatchSampler
from finetuner.training.backward import OldDocuments
from finetuner.training.batches import as_relations
from finetuner.training.guard import BatchGuard
from finetuner.training.judge import judge, stay
from finetuner.training.line import Line
from finetuner.training.loop import train
from finetuner.training.options import Recipe, TrainingOptions
from finetuner.training.recipes import begin, cached, choose
from finetuner.training.vectors import CachedVectors
from finetuner.training.watch import Report

CACHE_BYTES = 4 * 2**30
"""Room for the outputs of frozen modules, where :func:`fit` is given a folder for them."""


class Tuned(NamedTuple):
    """What a training came to.

    Attributes:
        encoder: The encoder after its best epoch, or somewhere on the way there.
        evaluation: See :func:`finetuner.training.judge.judge`.
        parts: The anchors that it learnt from, those that choices were made by, and those held out.
    """

    encoder: Encoder
    evaluation: dict[str, Any]
    parts: Parts


@dataclass(frozen=True)
class FitResult:
    """A tuned encoder and what it is worth.

    Attributes:
        encoder: The tuned encoder; the one that was given is unchanged.
        evaluation: See :func:`finetuner.training.judge.judge`; empty metrics if there were no held-out anchors to judge.
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
    *,
    guards: Mapping[str, MatchSet] | None = None,
    cache: str | Path | None = None,
    report: Report | None = None,
    **options: Any,
) -> FitResult:
    """Tune an encoder on match data and judge it on held-out anchors.

    Args:
        encoder: An encoder, or the name of one: ``mlp``, ``cnn``, ``bilstm``, the path of a
            sentence-transformers folder, or ``package.module:factory``.
        matches: A match set, or any iterable of match Documents.
        guards: Other match data, by name, on which the result is judged too, since it should not be worse there.
        cache: A folder in which the outputs of frozen modules are kept for the next time; by default they are not.
        report: Called with the name and the figures of each event, as soon as it happens.
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

    def tell(event: str, figures: dict[str, Any]) -> None:
        events.append({"event": event, **figures})
        if report is not None:
            report(event, figures)

    with tempfile.TemporaryDirectory() as folder:
        features = FeatureCache(Path(cache or folder, "features"), most_bytes=CACHE_BYTES)
        tuned = tune(
            copy.deepcopy(base),
            matches,
            chosen,
            rivals={"base": base},
            guards=guards or {},
            state=Path(folder, "state.safetensors"),
            cache=features,
            report=tell,
        )
    return FitResult(tuned.encoder, tuned.evaluation, events)


def tune(
    encoder: Encoder,
    matches: MatchSet,
    options: TrainingOptions,
    *,
    rivals: Mapping[str, Encoder],
    guards: Mapping[str, MatchSet],
    state: Path,
    cache: FeatureCache,
    report: Report,
) -> Tuned:
    """Train ``encoder`` in place on most anchors, and compare it with its rivals on those held out.

    Args:
        encoder: Where the training starts.
        matches: All match data of the run.
        options: How.
        rivals: Encoders to compare with, by the name under which they are reported.
        guards: Other match data to compare on, by name.
        state: A file that tells how far the training has come. If it is there, the training goes on from it, to the
            same bytes as if it had never been interrupted; encoder, matches and options must be the same.
        cache: Keeps what frozen modules make of contents.
        report: Receives ``split`` and ``recipe`` events, those of :func:`train` and :func:`stay`, and an ``evaluated`` event.

    Raises:
        LabelError: If a label, of a guard too, is none of the two values that the options name.
        OptionError: If an option does not go with the encoder or the match data.
        TrainingError: If there is nothing to learn, or the loss diverges.
    """
    zeros = int((matches.labels == 0).sum())
    if options.positive_label is not None or not options.uses_scores:
        matches = matches.with_values(options.positive_label, options.negative_label)
    _check_labels(matches, options)
    values = options.positive_label, options.negative_label
    guards = {
        name: guard.with_values(*values) for name, guard in guards.items()
    }  # before it takes time to train
    described = _described(matches, zeros=zeros)
    parts = matches.parts(validation=options.validation, holdout=options.holdout, seed=options.seed)
    training, validation, holdout = parts
    anchors = len(matches)
    del matches  # its judgements are in the parts, and would be in memory twice
    sizes = {"training": len(training), "validation": len(validation), "holdout": len(holdout)}
    report("split", {**sizes, **described})
    if not len(training):
        raise NothingToLearnError(
            f"all of the {anchors} anchors are held out; add anchors, or set validation and holdout lower"
        )
    recipe, reason = choose(encoder, training, options)
    report("recipe", {"recipe": recipe, "reason": reason})
    trains_all = recipe in ("lora", "full")
    line = Line(encoder, all_weights=trains_all)
    encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    with _reproducible(options.seed):
        _train(recipe, encoder, training, validation, options, state=state, cache=cache, report=report)
    encoder.to("cpu")
    stay(line, encoder, validation, options, cache=None if trains_all else cache, report=report)
    evaluation = judge({**rivals, "candidate": encoder}, parts, guards, options, cache=cache)
    report("evaluated", evaluation)
    return Tuned(encoder, evaluation, parts)


def _train(
    recipe: Recipe,
    encoder: Encoder,
    training: MatchSet,
    validation: MatchSet,
    options: TrainingOptions,
    *,
    state: Path,
    cache: FeatureCache,
    report: Report,
) -> None:
    """Put together what a training consists of, and train."""
    likely = None
    if options.in_batch_guard is not None:
        vectors = CachedVectors(encoder, cached(encoder, training, cache))
        contents = vectors.embeddings(np.arange(len(training.ids)), "document")
        queries = vectors.embeddings(training.anchors, "query")
        likely = BatchGuard(queries, contents, training, guard=options.in_batch_guard)
    old = OldDocuments(encoder, training, cache, weight=options.backward) if options.backward else None
    trainee = begin(recipe, encoder, training, options, cache=cache)
    dim = trainee.vectors.embeddings(training.anchors[:1], "document").shape[1]
    if old is not None:
        old.check(dim)
    groups = positive_groups(training)
    objective = make_objective(
        options.loss,
        options.loss_options,
        matryoshka=options.matryoshka or None,
        dim=dim,
        groups=None if groups is None else int(groups.max()) + 1,
    ).to(encoder.device)
    sampler = MatchSampler(
        training,
        batch_size=options.batch_size,
        matches_per_anchor=options.matches_per_anchor,
        seed=options.seed,
        in_batch_negatives=options.uses_in_batch_negatives,
        sampling=options.sampling,
        scores=objective.uses_scores,
        teaches=lambda batch: bool(objective.teaches(as_relations(batch, encoder.device)).any()),
        likely=likely,
    )
    train(trainee, objective, sampler, training, validation, options, state=state, report=report, old=old)


@contextlib.contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Let a seed decide all of torch's random numbers, and no race which of two sums is taken first, meanwhile.

    The caller's random numbers and settings stay the caller's.
    """
    settings = torch.utils.deterministic
    strict, fills = torch.are_deterministic_algorithms_enabled(), settings.fill_uninitialized_memory  # type: ignore[attr-defined]  # set by torch when it is imported
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        settings.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # it takes time, and nobody reads it
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)
            settings.fill_uninitialized_memory = fills  # type: ignore[attr-defined]


def _check_labels(matches: MatchSet, options: TrainingOptions) -> None:
    if not (matches.labels > 0).any():
        raise NothingToLearnError(
            f"none of the {len(matches.labels)} judgements is positive; label some matches above 0"
        )
    pulls_alone = options.loss in ("cosine", "contrastive")
    if pulls_alone and not options.uses_in_batch_negatives and not (matches.labels < 0).any():
        raise NothingToLearnError(
            f"no judgement is negative, and loss {options.loss!r} would pull all onto one point; "
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
