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
from finetuner.reports.embedded import Embedded, embedded
from finetuner.reports.examples import examples
from finetuner.reports.findings import Data, Epoch
from finetuner.reports.measuring import scored, view
from finetuner.reports.plane import drawn, plane
from finetuner.reports.report import Report
from finetuner.training.compare import PRIMARY, decides, rankable

_CACHE_BYTES = 4 * 2**30  # room for the outputs of modules, where no cache is given


def report(
    encoders: Encoder | Mapping[str, Encoder],
    matches: MatchSet | Iterable[MatchDocumentLike],
    *,
    ks: Ks = KS,
    segments: Mapping[str, str] | None = None,
    events: Iterable[Mapping[str, Any]] | None = None,
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
        segments: The name of a segment by the id of an anchor, for figures by segment; anchors may be in none. The id is that
            in ``ids`` of the match set: of the first document that carried the anchor's content.
        events: Those of the training, ``FitResult.events`` or the lines of ``events.jsonl``, for its curves.
        cache: Where what modules make of contents is kept, and found again; by default it is not kept.
        seed: Decides resamples, flips and what is drawn.
        title: What the page is headed by.

    Raises:
        OptionError: If there is no encoder, or ``ks`` is empty or has a number below 1.
        MatchDataError: If no anchor has a positive match: then there is nothing to rank for.
        EncoderError: If an encoder does not take such contents.
    """
    named = {"encoder": encoders} if isinstance(encoders, Encoder) else dict(encoders)
    if not named:
        raise OptionError("report: no encoder was given; give one, or several by name, the candidate last")
    if not isinstance(matches, MatchSet):
        first = next(iter(named.values()))
        matches = MatchSet.from_documents(matches, kind=first.kind, floats=first.takes_floats)
    matches = matches.with_values(None, None)
    if not len(rankable(matches, "corpus")):
        raise MatchDataError(f"none of the {len(matches)} anchors has a match that is labelled above 0")
    with tempfile.TemporaryDirectory() as folder:
        kept = cache or FeatureCache(Path(folder), most_bytes=_CACHE_BYTES)
        made = {name: embedded(encoder, matches, kept) for name, encoder in named.items()}
        return _found(made, matches, ks, segments, tuple(_epochs(events or ())), seed, title)


def _found(
    encoders: Mapping[str, Embedded],
    matches: MatchSet,
    ks: Ks,
    segments: Mapping[str, str] | None,
    epochs: tuple[Epoch, ...],
    seed: int,
    title: str,
) -> Report:
    over = decides(matches)
    both: list[Over] = ["judged", "corpus"] if over == "judged" else ["corpus", "judged"]
    found = [scored(encoders, matches, one, ks) for one in both if len(rankable(matches, one))]
    points = drawn(matches, segments, seed=seed)
    return Report(
        title=title,
        library=__version__,
        seed=seed,
        encoders=tuple(encoders),
        metric=PRIMARY,
        over=over,
        data=_data(matches),
        views=tuple(view(one, encoders, matches, segments, seed) for one in found),
        examples=examples(found[0], encoders, matches, seed=seed),
        planes=tuple(plane(name, of.documents, points) for name, of in list(encoders.items())[-2:]),
        epochs=epochs,
    )


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
