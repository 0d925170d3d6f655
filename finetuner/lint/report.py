"""What a lint report is: counts and findings, as data and as a table."""

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""From what makes data useless, over what is probably a mistake, to what is good to know."""

_ADVICE_WIDTH = 66
_ID_WIDTH = 48


@dataclass(frozen=True)
class Counts:
    """How much there is.

    Attributes:
        documents: Different ids.
        contents: Different contents of the documents that come with one.
        anchors: Documents that are anchors.
        matches: Matches of all anchors, as they come: a pair that comes twice counts twice, here and below.
        judgements: Matches that have a label.
        unjudged: Matches that have none.
        positive: Labels above 0.
        negative: Labels below 0.
        zero: Labels of 0, which judge nothing.
        distinct_labels: Different label values; None for more than 1,000.
        labels: The 20 most frequent label values, as text, with how often they come; nothing beyond 1,000 values.
        matches_per_anchor: ``min``, ``median`` and ``max``; nothing without anchors.
        both_signs: Share of the anchors that have a positive and a negative beside themselves, 0 to 1.
    """

    documents: int
    contents: int
    anchors: int
    matches: int
    judgements: int
    unjudged: int
    positive: int
    negative: int
    zero: int
    distinct_labels: int | None
    labels: Mapping[str, int]
    matches_per_anchor: Mapping[str, float]
    both_signs: float


@dataclass(frozen=True)
class Finding:
    """Something about match data that its owner should know.

    Attributes:
        name: What was found, a name that stays: ``self_matches``.
        severity: How bad it is.
        count: How many there are, above 0.
        advice: What is counted, what it means, and what to do.
        examples: Up to five of them, each as what is what: ``{"anchor": "q1", "match": "d2"}``, values being ids
            of documents.
    """

    name: str
    severity: Severity
    count: int
    advice: str
    examples: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True)
class LintReport:
    """What was found in match data; as text it is a table for people.

    Attributes:
        counts: How much there is.
        findings: What was found, the worst first.
    """

    counts: Counts
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as data that JSON can hold: ``counts``, and ``findings`` as a list."""
        findings = [
            {**asdict(one), "examples": [dict(example) for example in one.examples]} for one in self.findings
        ]
        return {"counts": asdict(self.counts), "findings": findings}

    def as_table(self) -> str:
        """Return the report for people: the counts, then a row for each finding, with its examples below it."""
        if not self.findings:
            return f"{_counted(self.counts)}\n\nNothing was found."
        rows = [
            (one.severity, one.name.replace("_", " "), f"{one.count:,}", _told(one)) for one in self.findings
        ]
        table = [("severity", "finding", "count", ["what it means, what to do"]), *rows]
        widths = [max(len(row[column]) for row in table) for column in range(3)]
        lines = [
            line
            for severity, name, count, told in table
            for line in _row(
                [f"{severity:{widths[0]}}", f"{name:{widths[1]}}", f"{count:>{widths[2]}}"], told
            )
        ]
        return "\n".join([_counted(self.counts), "", lines[0], "-" * len(lines[0]), *lines[1:]])

    def __str__(self) -> str:
        return self.as_table()


def _row(cells: list[str], told: list[str]) -> list[str]:
    first = "  ".join(cells)
    return [f"{first}  {told[0]}", *(f"{'':{len(first)}}  {line}" for line in told[1:])]


def _told(finding: Finding) -> list[str]:
    examples = [
        "e.g. " + ", ".join(f"{what} {_short(value)}" for what, value in example.items())
        for example in finding.examples
    ]
    return [*textwrap.wrap(finding.advice, _ADVICE_WIDTH), *examples]


def _short(value: str) -> str:
    return repr(value if len(value) <= _ID_WIDTH else value[: _ID_WIDTH - 3] + "...")


def _counted(counts: Counts) -> str:
    lines = [
        f"{counts.anchors:,} anchors, {counts.documents:,} documents, {counts.contents:,} contents",
        f"{counts.matches:,} matches: {counts.positive:,} positive, {counts.negative:,} negative, "
        f"{counts.zero:,} zero, {counts.unjudged:,} unjudged",
    ]
    if counts.anchors:
        spread = counts.matches_per_anchor
        lines.append(
            f"matches per anchor: {spread['min']:g} to {spread['max']:g}, median {spread['median']:g}; "
            f"{counts.both_signs:.1%} of the anchors have a positive and a negative"
        )
    return "\n".join([*lines, _labels(counts)] if counts.judgements else lines)


def _labels(counts: Counts) -> str:
    if counts.distinct_labels is None:
        return "labels: more than 1,000 different values"
    shown = ", ".join(f"{label} ({count:,})" for label, count in counts.labels.items())
    more = counts.distinct_labels - len(counts.labels)
    return f"labels: {shown}" + (f", and {more:,} other values" if more else "")
