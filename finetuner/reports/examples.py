"""Queries that the candidate won and lost, and some drawn by chance, with what is ranked for them."""

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from finetuner.evaluation import Floats, Over
from finetuner.matches import MatchSet
from finetuner.reports.embedded import Embedded
from finetuner.reports.findings import Chosen, Example, Place, Ranking
from finetuner.reports.measuring import LEVEL, Scored
from finetuner.reports.pictures import shown

EACH = 5
"""Examples of those won, and of those lost; the largest differences."""

DRAWN = 4
"""Examples drawn from all others."""

TOP = 6
"""Places of a ranking that are shown."""

PICTURES = 3 * 2**19
"""Characters of the pictures of all examples, at most: 1.5 MB."""


def examples(
    found: Scored, encoders: Mapping[str, Embedded], matches: MatchSet, *, seed: int
) -> tuple[Example, ...]:
    """Return examples: the candidate beside the encoder before it, if there is one."""
    candidate = list(encoders)[-1]
    rival = list(encoders)[-2] if len(encoders) > 1 else None
    gain = np.zeros(len(found.anchors)) if rival is None else found.gain(rival)

    def ranking(name: str, query: int) -> Ranking:
        score = float(found.scores[name][found.metric][query])
        return _ranking(encoders[name], matches, int(found.anchors[query]), found.over, score)

    return _within(
        [
            Example(
                chosen=why,
                anchor=shown(matches, int(matches.anchors[found.anchors[query]])),
                before=None if rival is None else ranking(rival, query),
                after=ranking(candidate, query),
            )
            for why, query in _chosen(gain, seed)
        ]
    )


def _chosen(gain: Floats, seed: int) -> Iterator[tuple[Chosen, int]]:
    """Yield why and which, the largest differences first."""
    order = np.argsort(-gain, kind="stable")
    won = [int(query) for query in order[:EACH] if gain[query] > LEVEL]
    lost = [int(query) for query in order[::-1][:EACH] if gain[query] < -LEVEL]
    yield from (("won", query) for query in won)
    yield from (("lost", query) for query in lost)
    others = np.setdiff1d(np.arange(len(gain)), [*won, *lost])
    drawn = np.random.default_rng(seed).permutation(others)[:DRAWN]
    yield from (("drawn", int(query)) for query in drawn)


def _within(made: list[Example]) -> tuple[Example, ...]:
    """Return examples whose pictures are not too much for a page: of each kind the first ones, as evenly as may be."""
    place: Counter[Chosen] = Counter()
    places = []
    for one in made:
        places.append(place[one.chosen])
        place[one.chosen] += 1
    total, kept = 0, set[int]()
    for at in sorted(range(len(made)), key=lambda at: places[at]):
        total += _characters(made[at])
        if total > PICTURES and kept:
            break
        kept.add(at)
    return tuple(one for at, one in enumerate(made) if at in kept)


def _characters(example: Example) -> int:
    rankings = [one for one in (example.before, example.after) if one is not None]
    all_shown = [example.anchor, *(place.content for ranking in rankings for place in ranking.top)]
    return sum(len(one.picture or "") for one in all_shown)


def _ranking(of: Embedded, matches: MatchSet, anchor: int, over: Over, score: float) -> Ranking:
    """Return the first places for an anchor, in the order in which the metrics count them."""
    row = int(matches.anchors[anchor])
    mine = slice(matches.offsets[anchor], matches.offsets[anchor + 1])
    judged = dict(zip(matches.matches[mine].tolist(), matches.labels[mine].tolist(), strict=True))
    [asking] = of.asking(np.array([anchor]), np.array([row]))
    if over == "judged":
        rows = matches.matches[mine]
        cosine = of.documents[rows] @ asking
    else:
        rows = np.delete(np.arange(len(matches.ids)), row)
        cosine = np.delete(of.documents @ asking, row)
    gains = np.array([judged.get(int(one), 0.0) for one in rows])
    distance = np.maximum(1 - cosine, 0)
    order = np.lexsort((gains, distance))
    first = int(np.flatnonzero(gains[order] > 0)[0]) + 1
    top = tuple(
        Place(shown(matches, int(rows[at])), judged.get(int(rows[at])), float(distance[at]))
        for at in order[:TOP]
    )
    return Ranking(score, first, top)
