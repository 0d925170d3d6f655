"""What is odd about match data, told before somebody trains on it: one pass over packs, one report."""

from collections.abc import Iterable

import numpy as np

from finetuner.documents import ContentKind
from finetuner.lint.findings import Contradictions, findings_of
from finetuner.lint.known import ANCHOR, Shares
from finetuner.lint.report import Counts, Finding, LintReport, Severity
from finetuner.lint.tally import Tally
from finetuner.packs import Pack

__all__ = ["Contradictions", "Counts", "Finding", "LintReport", "Severity", "lint"]

_SHOWN_LABELS = 20


def lint(
    packs: Iterable[Pack],
    *,
    validation: float = 0.1,
    holdout: float = 0.1,
    seed: int = 0,
    contradictions: Contradictions | None = None,
    kind: ContentKind | None = None,
) -> LintReport:
    """Read packs once and report what they hold and what is odd about it.

    Memory does not grow with judgements: of each document and its content up to 200 bytes are needed, of which
    some 70 are kept with its id, and nothing of contents themselves. What is near to what, and what that misses, is
    told in :mod:`finetuner.lint.near`. Near-duplicates that one anchor judges both ways are found where both
    judgements are in one pack.

    Args:
        packs: Any stream of packs, of a made or stored collection or of a file. Contents come with or before the
            judgements about their documents; of a document without content, ids alone are compared.
        validation: Share of the anchors that a run would hold out to choose an epoch.
        holdout: Share of the anchors that a run would hold out to judge its result.
        seed: Of that run: it decides which anchors.
        contradictions: Pairs about which sources disagree, as the store tells them; packs do not know sources.
        kind: Which content to look at where documents have both; by default the array.

    Raises:
        OptionError: If a share is below 0, or both together are everything.
        ContentError: If documents lack the kind of content that is looked at, or arrays differ in shape or dtype.
    """
    tally = Tally(Shares(validation, holdout, seed), kind)
    for pack in packs:
        tally.take(pack)
    return LintReport(_counts(tally), findings_of(tally, contradictions))


def _counts(tally: Tally) -> Counts:
    documents, counts = tally.documents, tally.counts
    anchors = np.flatnonzero(documents.flags.values & ANCHOR)
    matches = documents.matches.values[anchors]
    both = (documents.positive.values[anchors] > 0) & (documents.negative.values[anchors] > 0)
    labels = None if tally.labels is None else sorted(tally.labels.items(), key=lambda one: (-one[1], one[0]))
    spread = (
        {"min": matches.min(), "median": np.median(matches), "max": matches.max()} if len(anchors) else {}
    )
    judgements = counts["positive"] + counts["negative"] + counts["zero"]
    return Counts(
        documents=len(documents),
        contents=len(tally.contents),
        anchors=len(anchors),
        matches=judgements + counts["unjudged"],
        judgements=judgements,
        unjudged=counts["unjudged"],
        positive=counts["positive"],
        negative=counts["negative"],
        zero=counts["zero"],
        distinct_labels=None if labels is None else len(labels),
        labels={repr(value).removesuffix(".0"): count for value, count in (labels or ())[:_SHOWN_LABELS]},
        matches_per_anchor={name: float(number) for name, number in spread.items()},
        both_signs=float(both.mean()) if len(anchors) else 0.0,
    )
