"""Small match data of texts, where a text is its own id, and what a batch says about it in ids."""

from collections.abc import Mapping

import numpy as np

from finetuner.documents import Document, labelled
from finetuner.matches import MatchSet
from finetuner.samplers import Batch

Judgements = Mapping[str, Mapping[str, float]]


def match_set(judgements: Judgements) -> MatchSet:
    """Return a match set of texts from {anchor: {match: label}}; a text is its own id."""
    return MatchSet.from_documents(
        Document(
            text=anchor,
            id=anchor,
            matches=[
                Document(text=match, id=match, tags=labelled({}, label)) for match, label in judged.items()
            ],
        )
        for anchor, judged in judgements.items()
    )


def of_classes(anchors: int = 30, contents: int = 60, classes: int = 4, seed: int = 0) -> Judgements:
    """Return judgements among items 0, 1, ...: 4 of the same class (number modulo classes), 4 of others."""
    random = np.random.default_rng(seed)
    judgements: dict[str, dict[str, float]] = {}
    for anchor in range(anchors):
        others = random.permutation(np.delete(np.arange(contents), anchor))
        same = others % classes == anchor % classes
        judgements[str(anchor)] = {str(o): 1.0 for o in others[same][:4]} | {
            str(o): -1.0 for o in others[~same][:4]
        }
    return judgements


def at_random(anchors: int = 30, contents: int = 60, matches: int = 6, seed: int = 0) -> Judgements:
    """Return judgements without sense, whose positives contradict each other as groups."""
    random = np.random.default_rng(seed)
    return {
        str(anchor): {
            str(match): random.choice([1.0, -1.0])
            for match in random.choice(contents, matches, replace=False)
            if match != anchor
        }
        for anchor in range(anchors)
    }


def reachable(judgements: Judgements, start: str, steps: int) -> set[str]:
    """Return what positive judgements connect with ``start``, in any direction, within some steps."""
    edges = {(a, m) for a, judged in judgements.items() for m, label in judged.items() if label > 0}
    edges |= {(m, a) for a, m in edges}
    seen = {start}
    for _ in range(steps):
        grown = seen | {m for a, m in edges if a in seen}
        if grown == seen:
            break
        seen = grown
    return seen


def ids(matches: MatchSet, batch: Batch) -> tuple[list[str], list[str]]:
    """Return the ids of the anchors and of the contents of a batch."""
    contents = [matches.ids[row] for row in batch.contents]
    return [contents[place] for place in batch.anchors], contents


def relations(matches: MatchSet, batch: Batch) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return the positive and the negative pairs of a batch, by id."""
    anchors, contents = ids(matches, batch)

    def pairs(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> set[tuple[str, str]]:
        return {(anchors[row], contents[column]) for row, column in np.argwhere(mask)}

    return pairs(batch.positive), pairs(batch.negative)
