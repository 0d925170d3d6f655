"""The end of the page: what its numbers mean and how they were made."""

from finetuner.reports.findings import Findings
from finetuner.reports.markup import Markup, element
from finetuner.significance import FLIPS, RESAMPLES

_NOTES = {
    "hit@k": "1 if one of the first k is relevant, else 0.",
    "recall@k": "Relevant ones among the first k, of all R that are relevant.",
    "MRR": "1 / rank of the first relevant one.",
    "MAP": "The mean of the precision at the ranks of all relevant ones: 1/R Σ P(i) rel(i).",
    "MAP@R": "The same over the first R ranks, divided by R.",
    "R-precision": "Relevant ones among the first R, divided by R.",
    "nDCG@k": "Σ gain(i) / log2(i + 1) over the first k, divided by that of the best order. The gain is the label itself.",
    "Relevant": "A label above 0. A label of 0 judges nothing. Distance is 1 - cosine; at equal distance the irrelevant "
    "come first.",
    "Interval": f"The percentile interval of the paired bootstrap: anchors are drawn with replacement, {RESAMPLES:,} times. "
    "Blue lies above 0, red below.",
    "p": f"How often chance alone makes a mean difference at least as large, in either direction: signs of the anchors' "
    f"differences are flipped, {FLIPS:,} times, or in all ways if there are fewer. It is not corrected for the number of rows.",
}


def notes(found: Findings) -> Markup:
    """Return the section: every metric and test by its formula, then what the page was made with."""
    lines = [[element("dt", name), element("dd", told)] for name, told in _NOTES.items()]
    made = f"Made by finetuner {found.library} with seed {found.seed}. The same figures, in full, are in report.json."
    return element(
        "section",
        element("h2", "How it was measured"),
        element("dl", lines),
        element("p", made, class_="note"),
    )
