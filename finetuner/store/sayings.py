"""What was said about pairs of anchor and match, and what of a feed is new to it."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

Pair = tuple[int, int]
"""The rows of an anchor and of one of its matches."""


class Line(NamedTuple):
    """Something new about a pair: a label and weight, or NaN for a match that nobody judged, and tags as JSON."""

    pair: Pair
    label: float
    weight: float
    tags: str


@dataclass
class Said:
    """What is known of a pair.

    Attributes:
        by_source: The newest label and weight of each source.
        tags: The newest tags.
    """

    by_source: dict[str, tuple[float, float]] = field(default_factory=dict)
    tags: str = ""

    def add(self, source: str, label: float | None, weight: float, tags: str) -> None:
        """Take in what was said next."""
        self.tags = tags or self.tags
        if label is not None and label == label:  # NaN is not itself
            self.by_source[source] = (label, weight)


def news(given: Iterable[Line], known: dict[Pair, Said], *, source: str) -> tuple[list[Line], Counter[str]]:
    """Return what is new of what a source says, in its order.

    Args:
        given: All that it says.
        known: What was said before about those pairs; it is brought up to date for pairs that come twice.
        source: Who says it.

    Returns:
        The new lines, and how many judgements were ``accepted``, ``known`` and ``contradicted``.
    """
    lines: list[Line] = []
    first: dict[Pair, int] = {}  # most pairs come once: no more than a number is kept of them
    counts: Counter[str] = Counter()
    for line in given:
        pair, label, weight, tags = line
        said = known.get(pair)
        if said is None and pair not in first:
            first[pair] = len(lines)
            lines.append(line)
            counts["accepted"] += label == label
            continue
        if said is None:
            before = lines[first[pair]]
            said = known[pair] = Said()
            said.add(source, before.label, before.weight, before.tags)
        is_new = label == label and _count(counts, said, source, (label, weight))
        if is_new or (tags and tags != said.tags):
            # new tags alone are no new judgement, which would be newer than what others have said meanwhile
            lines.append(line if is_new else line._replace(label=math.nan))
        said.add(source, label, weight, tags)
    return lines, counts


def _count(counts: Counter[str], said: Said, source: str, judgement: tuple[float, float]) -> bool:
    """Count a judgement, and return whether it is new."""
    if said.by_source.get(source) == judgement:
        counts["known"] += 1
        return False
    counts["accepted"] += 1
    counts["contradicted"] += any(label != judgement[0] for label, _ in said.by_source.values())
    return True
