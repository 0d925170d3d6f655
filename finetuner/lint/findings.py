"""From what was counted to what its owner should know of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from finetuner.lint.columns import Rows
from finetuner.lint.known import ANCHOR, JUDGED, TWO_CONTENTS
from finetuner.lint.near import near
from finetuner.lint.report import SEVERITIES, Finding, Severity
from finetuner.lint.tally import EXAMPLES, Kept, Tally
from finetuner.splits import SIDES

Contradictions = tuple[int, Sequence[Mapping[str, object]]]
"""How many pairs sources disagree about, and some of them, each as what is what."""

Examples = Iterable[Mapping[str, str]]

_ABOUT: Mapping[str, tuple[Severity, str]] = {
    "ids_with_two_contents": (
        "error",
        "Documents whose id came with two contents, and an id names one: a store refuses the second. Give each "
        "content an id of its own.",
    ),
    "nothing_to_learn": (
        "error",
        "No anchor has a positive beside itself, so a run would end without having learnt. Label matches above 0.",
    ),
    "contradictions": (
        "warning",
        "Pairs about which sources disagree: one labels above 0, another below. The newest label holds. Ask who is "
        "right, and feed that label again.",
    ),
    "judged_both_ways": (
        "warning",
        "Positives to which a negative of the same anchor is nearly or exactly equal, within one pack. An encoder "
        "cannot tell them apart, so one of the two labels is noise. Drop it.",
    ),
    "labels_of_zero": (
        "warning",
        "Labels of 0 judge nothing, and there is no negative label. If 0 means irrelevant, train with "
        "positive_label=1 and negative_label=0, or feed -1 instead of 0.",
    ),
    "self_matches": (
        "warning",
        "Matches with the id or the content of their anchor. They teach nothing and are not trained on. Drop them "
        "where the data is made.",
    ),
    "anchors_without_positive": (
        "warning",
        "Anchors that have negatives but no positive beside themselves: most losses learn nothing from them, and no "
        "metric is defined for them. Label what they should find.",
    ),
    "anchors_without_judgement": (
        "warning",
        "Anchors that have matches, none of which is labelled above or below 0 and is another content. They teach "
        "nothing. Have their matches judged.",
    ),
    "anchors_without_match": (
        "warning",
        "Anchors that have no match at all. They teach nothing. Feed their matches, or leave them out.",
    ),
    "held_out_contents_seen": (
        "warning",
        "Contents of validation or holdout anchors that are judged matches of training anchors, so they are not new "
        "to a tuned model. If your users will ask with new contents, expect less of them than of the holdout.",
    ),
    "near_anchors_on_two_sides": (
        "warning",
        "Contents of validation or holdout anchors that are nearly equal to an anchor of training (or of validation), "
        "so the split flatters the result. Make near-duplicates equal before they are fed; equal contents are on one side.",
    ),
    "near_duplicate_anchors": (
        "note",
        "Contents of anchors that are nearly but not exactly equal to another anchor's. Their judgements are not "
        "joined: what is a positive of one may become a negative of the other in a batch.",
    ),
    "anchors_of_equal_content": (
        "note",
        "Anchors whose content another anchor has under another id. Training joins their matches, and of "
        "contradicting labels the later holds.",
    ),
    "anchors_without_negative": (
        "note",
        "Anchors that have positives but no negative. A batch lends them negatives, save with loss 'cosine' or "
        "in_batch_negatives=false.",
    ),
    "duplicate_contents": (
        "note",
        "Documents whose content another document has under another id. It is embedded once, and judgements about "
        "either are about both.",
    ),
    "unjudged_contents": (
        "note",
        "Contents that are neither an anchor nor a match with a label. They are in the corpus that is ranked, and "
        "teach nothing.",
    ),
    "documents_without_content": (
        "note",
        "Documents that came as an id alone. What depends on contents was not looked at for them.",
    ),
}


def findings_of(tally: Tally, contradictions: Contradictions | None) -> tuple[Finding, ...]:
    """Return what was found, the worst first, then in the order of the table above."""
    found = [*_of_judgements(tally), *_of_anchors(tally), *_of_documents(tally), *_of_near_anchors(tally)]
    if contradictions is not None and contradictions[0]:
        count, examples = contradictions
        shown = [{what: str(value) for what, value in one.items()} for one in examples[:EXAMPLES]]
        found.append(_finding("contradictions", count, shown))
    places = list(_ABOUT)
    found.sort(key=lambda one: (SEVERITIES.index(one.severity), places.index(one.name)))
    return tuple(one for one in found if one.count)


def _finding(name: str, count: int, examples: Examples = ()) -> Finding:
    severity, advice = _ABOUT[name]
    return Finding(name, severity, count, advice, tuple(examples))


def _of_judgements(tally: Tally) -> Iterator[Finding]:
    names = tally.documents.names

    def kept(name: str, found: Kept, *roles: str) -> Finding:
        examples = [dict(zip(roles, (names[one] for one in row), strict=True)) for row in found.first]
        return _finding(name, found.count, examples)

    yield kept("self_matches", tally.selves, "anchor", "match")
    yield kept("judged_both_ways", tally.both_ways, "anchor", "positive", "negative")
    if not tally.counts["negative"]:
        yield kept("labels_of_zero", tally.zeros, "anchor", "match")


def _of_anchors(tally: Tally) -> Iterator[Finding]:
    documents = tally.documents
    is_anchor = (documents.flags.values & ANCHOR) > 0
    matches, positive, negative = (
        column.values > 0 for column in (documents.matches, documents.positive, documents.negative)
    )
    sorts = {
        "anchors_without_match": ~matches,
        "anchors_without_judgement": matches & ~positive & ~negative,
        "anchors_without_positive": negative & ~positive,
        "anchors_without_negative": positive & ~negative,
    }
    for name, mask in sorts.items():
        yield _some(tally, name, np.flatnonzero(is_anchor & mask), "anchor")
    yield _finding("nothing_to_learn", 0 if positive.any() else max(1, int(is_anchor.sum())))


def _some(tally: Tally, name: str, documents: Rows, role: str) -> Finding:
    names = [tally.documents.names[int(one)] for one in documents[:EXAMPLES]]
    return _finding(name, len(documents), [{role: one} for one in names])


def _of_documents(tally: Tally) -> Iterator[Finding]:
    content, flags = tally.documents.content.values, tally.documents.flags.values
    yield _some(tally, "ids_with_two_contents", np.flatnonzero(flags & TWO_CONTENTS), "document")
    yield _some(tally, "documents_without_content", np.flatnonzero(content < 0), "document")
    carriers = np.flatnonzero(content >= 0)
    yield _repeated(tally, "duplicate_contents", carriers, "document")
    yield _repeated(tally, "anchors_of_equal_content", carriers[(flags[carriers] & ANCHOR) > 0], "anchor")
    idle = np.ones(len(tally.contents), np.bool_)
    idle[content[carriers[(flags[carriers] & (ANCHOR | JUDGED)) > 0]]] = False
    unjudged = carriers[idle[content[carriers]]]
    _, first = np.unique(content[unjudged], return_index=True)
    yield _some(tally, "unjudged_contents", unjudged[first], "document")


def _repeated(tally: Tally, name: str, documents: Rows, role: str) -> Finding:
    """Count documents whose content an earlier one has."""
    names = tally.documents.names
    _, first, inverse = np.unique(
        tally.documents.content.values[documents], return_index=True, return_inverse=True
    )
    again = np.flatnonzero(first[inverse] != np.arange(len(documents)))
    examples = [
        {role: names[int(documents[place])], "same as": names[int(documents[first[inverse[place]]])]}
        for place in again[:EXAMPLES]
    ]
    return _finding(name, len(again), examples)


def _of_near_anchors(tally: Tally) -> Iterator[Finding]:
    anchors, contents = _anchor_contents(tally)
    names, sides = tally.documents.names, tally.contents.sides.values[contents]
    signatures = tally.contents.signatures.values[contents]
    fuzzy = tally.contents.is_fuzzy
    found = near(signatures, signatures, fuzzy=fuzzy, themselves=True)
    alike = np.flatnonzero(found >= 0)
    pairs = [(names[int(anchors[one])], names[int(anchors[found[one]])]) for one in alike[:EXAMPLES]]
    yield _finding(
        "near_duplicate_anchors", len(alike), [{"anchor": one, "nearly": other} for one, other in pairs]
    )

    earlier = _near_earlier(signatures, sides, alike, fuzzy=fuzzy)
    crossing = np.flatnonzero(earlier >= 0)
    yield _finding(
        "near_anchors_on_two_sides",
        len(crossing),
        [
            {SIDES[sides[one]]: names[int(anchors[one])], SIDES[sides[other]]: names[int(anchors[other])]}
            for one, other in zip(crossing[:EXAMPLES], earlier[crossing], strict=False)
        ],
    )

    seen_by = tally.contents.seen_by.values[contents]
    seen = np.flatnonzero((sides > 0) & (seen_by >= 0))
    yield _finding(
        "held_out_contents_seen",
        len(seen),
        [
            {SIDES[sides[one]]: names[int(anchors[one])], "match of": names[int(seen_by[one])]}
            for one in seen[:EXAMPLES]
        ],
    )


def _anchor_contents(tally: Tally) -> tuple[Rows, Rows]:
    """Return the different contents of anchors, and for each the first anchor that has it."""
    content, flags = tally.documents.content.values, tally.documents.flags.values
    anchors = np.flatnonzero((content >= 0) & ((flags & ANCHOR) > 0))
    contents, first = np.unique(content[anchors], return_index=True)
    return anchors[first], contents.astype(np.int64)


def _near_earlier(
    signatures: NDArray[np.uint64], sides: NDArray[np.int8], alike: Rows, *, fuzzy: bool
) -> Rows:
    """Return for each content one that is near it on an earlier side, -1 where there is none.

    ``alike`` are those that are near any other: only they can be.
    """
    earlier = np.full(len(signatures), -1, np.int64)
    for side in range(len(SIDES) - 1):
        known = alike[sides[alike] == side]
        asked = alike[sides[alike] > side]
        found = near(signatures[asked], signatures[known], fuzzy=fuzzy)
        earlier[asked[found >= 0]] = known[found[found >= 0]]
    return earlier
