"""A report from encoders and match data."""

import math
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from finetuner.documents import MatchDocumentLike
from finetuner.errors import MatchDataError, OptionError
from finetuner.evaluation import KS, Ks, Over
from finetuner.features import FeatureCache
from finetuner.matches import MatchSet
from finetuner.models import Encoder
from finetuner.release import __version__
from finetuner.reports.embedded import embedded
from finetuner.reports.examples import examples
from finetuner.reports.findings import Data, Epoch
from finetuner.reports.measuring import Asked, scored, view
from finetuner.reports.plane import drawn, plane
from finetuner.reports.promotion import Promotion
from finetuner.reports.report import Report
from finetuner.training.compare import PRIMARY, decides, rankable

_CACHE_BYTES = 4 * 2**30  # room for the outputs of modules, where no cache is given


def report(
    encoders: Encoder | Mapping[str, Encoder],
    matches: MatchSet | Iterable[MatchDocumentLike],
    *,
    ks: Ks = KS,
    over: Over | None = None,
    beside: int | None = None,
    metric: str = PRIMARY,
    confidence: float = 0.95,
    segments: Mapping[str, str] | None = None,
    events: Iterable[Mapping[str, Any]] | None = None,
    promotion: Promotion | None = None,
    cache: FeatureCache | None = None,
    seed: int = 0,
    title: str = "Evaluation",
) -> Report:
    """Return what several encoders are worth for the anchors of match data.

    What nobody judged is handled in both ways, side by side: left out, or counted as irrelevant. As in a training, the
    first of them decides where most anchors with a positive match have a negative one too, and the second elsewhere. A
    label of 0 judges nothing.

    Embeddings are on disk, one file for each encoder, and are ranked in blocks, so memory does not grow with contents
    times dimension, nor with contents times anchors. Everything is decided by the seed: the same call gives the same page.

    Args:
        encoders: One encoder, or several by name; the last one is the candidate that the others are held against, and
            the one before it is shown beside it.
        matches: A match set, or any iterable of match Documents. Of a part of a match set, the anchors are those of the
            part, and the corpus that of the whole.
        ks: Ranks at which hit@k, recall@k and nDCG@k are cut.
        over: ``judged`` or ``corpus`` for this one alone; None for both, the one that decides first.
        beside: How many anchors are asked at most in the one that does not decide, drawn by the seed; by default all.
        metric: The metric that decides, as :class:`finetuner.evaluation.Metrics` names it.
        confidence: How often an interval shall hold the true mean, above 0 and below 1.
        segments: The name of a segment by the id of an anchor, for figures by segment; anchors may be in none. The id is that
            in ``ids`` of the match set: of the first document that carried the anchor's content.
        events: Those of the training, ``FitResult.events`` or the lines of ``events.jsonl``, for its curves.
        promotion: What becomes of the candidate, as far as it is known.
        cache: Where what modules make of contents is kept, and found again; by default it is not kept.
        seed: Decides resamples, flips and what is drawn.
        title: What the page is headed by.

    Raises:
        OptionError: If there is no encoder, ``ks`` is empty or has a number below 1, or there is no such metric.
        MatchDataError: If no anchor can be ranked: none has a positive match, or a negative one too for ``judged`` alone.
        EncoderError: If an encoder does not take such contents.
    """
    # each is taken out of the mapping once, and may be loaded only then
    named = {"encoder": encoders} if isinstance(encoders, Encoder) else encoders
    if not len(named):
        raise OptionError("report: no encoder was given; give one, or several by name, the candidate last")
    if not isinstance(matches, MatchSet):
        first = next(iter(named.values()))
        matches = MatchSet.from_documents(matches, kind=first.kind, floats=first.takes_floats)
    matches = matches.with_values(None, None)
    _check_able(matches, over or "corpus")
    asked = _asked(ks, metric, confidence, seed)
    with tempfile.TemporaryDirectory() as folder:
        kept = cache or FeatureCache(Path(folder), most_bytes=_CACHE_BYTES)
        made = {name: embedded(named[name], matches, kept) for name in named}
        found = [
            scored(made, matches, one, asked, most=beside if at else None)
            for at, one in enumerate(_ranked(matches, over, beside))
        ]
        points = drawn(matches, segments, seed=seed)
        return Report(
            title=title,
            library=__version__,
            seed=seed,
            encoders=tuple(made),
            metric=metric,
            confidence=confidence,
            over=found[0].over,
            data=_data(matches),
            views=tuple(view(one, made, matches, segments, asked, alone=len(found) == 1) for one in found),
            examples=examples(found[0], made, matches, seed=seed),
            planes=tuple(plane(name, of.documents, points) for name, of in list(made.items())[-2:]),
            epochs=tuple(_epochs(events or ())),
            promotion=promotion or Promotion(),
        )


def _check_able(matches: MatchSet, over: Over) -> None:
    """Raise MatchDataError if no anchor can be ranked."""
    if not len(rankable(matches, "corpus")):
        raise MatchDataError(f"none of the {len(matches)} anchors has a match that is labelled above 0")
    if not len(rankable(matches, over)):
        raise MatchDataError(
            f"none of the {len(matches)} anchors has a positive and a negative match, so none can rank its judged matches; "
            "rank over 'corpus'"
        )


def _asked(ks: Ks, metric: str, confidence: float, seed: int) -> Asked:
    """Return what is asked, or raise OptionError if there is no such metric."""
    _, _, at = metric.partition("@")
    asked = Asked((*ks, int(at)) if ks and at.isdecimal() else ks, metric, confidence, seed)
    if metric not in asked.names:
        raise OptionError(f"report: there is no metric {metric!r}; known are {', '.join(asked.names)}")
    return asked


def _ranked(matches: MatchSet, over: Over | None, beside: int | None) -> list[Over]:
    """Return what is ranked: one, or what decides and then the other, where any anchor can be ranked."""
    if over is not None:
        return [over]
    both: list[Over] = ["judged", "corpus"] if decides(matches) == "judged" else ["corpus", "judged"]
    return [one for one in both if len(rankable(matches, one))][: 1 if beside == 0 else 2]


def _data(matches: MatchSet) -> Data:
    positive, negative = int((matches.labels > 0).sum()), int((matches.labels < 0).sum())
    return Data(matches.kind, len(matches.ids), len(matches), positive, negative)


def _epochs(events: Iterable[Mapping[str, Any]]) -> Iterable[Epoch]:
    """Return the epochs in order; where one was reported twice, the last report counts."""
    told = {int(event["epoch"]): event for event in events if event.get("event") == "epoch"}
    return [Epoch(at, _finite(told[at], "loss"), _finite(told[at], "validation_map")) for at in sorted(told)]


def _finite(event: Mapping[str, Any], name: str) -> float | None:
    value = event.get(name)
    return float(value) if value is not None and math.isfinite(value) else None
