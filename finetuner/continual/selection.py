"""What a run learns from that goes on: anchors with new judgements, and a sample of the others, so that they stay known."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetuner.errors import NothingToLearnError
from finetuner.matches import MatchSet
from finetuner.splits import sides
from finetuner.training.options import TrainingOptions

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Said:
    """What match data says, without its contents: 24 bytes a judgement, 16 a content.

    Attributes:
        hashes: Of each content, uint8 (N, 16).
        anchors: For each judgement, the row of its anchor, (J,).
        matches: And of its match, (J,).
        labels: And its label, float32 (J,).
        weights: And how much it counts, float32 (J,).
    """

    hashes: NDArray[np.uint8]
    anchors: Numbers
    matches: Numbers
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]

    @classmethod
    def of(cls, matches: MatchSet) -> "Said":
        """Return what a match set says; its contents may be let go."""
        anchors = matches.anchors[matches.anchor_of]
        return cls(matches.hashes, anchors, matches.matches, matches.labels, matches.weights)

    @classmethod
    def nothing(cls) -> "Said":
        """Return what is said before anything was fed."""
        rows, values = np.zeros(0, np.int64), np.zeros(0, np.float32)
        return cls(np.zeros((0, 16), np.uint8), rows, rows, values, values)

    def knows(self, other: "Said") -> NDArray[np.bool_]:
        """Return which judgements of another say nothing new, bool (J',): anchor, match, label and weight are here too."""
        contents, number = _numbered(np.concatenate([self.hashes, other.hashes]))
        here, there = number[: len(self.hashes)], number[len(self.hashes) :]
        mine = here[self.anchors] * contents + here[self.matches]  # of a pair one judgement holds
        theirs = there[other.anchors] * contents + there[other.matches]
        if not len(mine):
            return np.zeros(len(theirs), np.bool_)
        order = np.argsort(mine)
        at = order[np.minimum(np.searchsorted(mine, theirs, sorter=order), len(mine) - 1)]
        same: NDArray[np.bool_] = (
            (mine[at] == theirs) & (self.labels[at] == other.labels) & (self.weights[at] == other.weights)
        )
        return same


@dataclass(frozen=True)
class Selection:
    """What a run learns from and is judged on.

    Attributes:
        matches: The match data of the run.
        new_anchors: Anchors with new judgements.
        replayed_anchors: Anchors without, that are learnt from again.
        held_out_anchors: Anchors without, that are validated or judged on.
    """

    matches: MatchSet
    new_anchors: int
    replayed_anchors: int
    held_out_anchors: int

    def as_figures(self) -> dict[str, Any]:
        """Return how much it is, for people."""
        names = ("new_anchors", "replayed_anchors", "held_out_anchors")
        return {name: getattr(self, name) for name in names}


def select(now: MatchSet, before: Said, options: TrainingOptions, *, replay: float) -> Selection:
    """Select what a run learns from that goes on.

    Of the anchors on the training side of the split these are those with new judgements and a sample of the others.
    Those on the other sides all stay, new or not: what an earlier run held out is held out again, whatever is replayed,
    so the gate has as much to decide by as if all were learnt from. The corpus stays whole.

    Args:
        now: All that holds in the collection.
        before: What held in it before.
        options: The run's own, for its split and its seed.
        replay: Anchors in the sample for each with new judgements that is learnt from; more than there are takes all.

    Raises:
        NothingToLearnError: If nothing new is on the training side.
    """
    news = ~before.knows(Said.of(now))
    is_new = np.bincount(now.anchor_of[news], minlength=len(now)) > 0
    side = sides(
        now.hashes[now.anchors], validation=options.validation, holdout=options.holdout, seed=options.seed
    )
    learns = side == 0
    if not (is_new & learns).any():
        held_out = int(is_new.sum())
        what = f"only {held_out} anchors that are held out have" if held_out else "no anchor has"
        raise NothingToLearnError(f"since: {what} new judgements since then; feed more, or leave since out")
    judged = np.diff(now.offsets) > 0
    others = np.flatnonzero(learns & judged & ~is_new)
    wanted = round(min(replay * int((is_new & learns).sum()), len(others)))
    replayed = np.random.default_rng(options.seed).choice(others, wanted, replace=False)
    chosen = is_new | ~learns
    chosen[replayed] = True
    return Selection(now.only(chosen), int(is_new.sum()), wanted, int((~learns & ~is_new).sum()))


def _numbered(hashes: NDArray[np.uint8]) -> tuple[int, Numbers]:
    """Return how many different hashes there are, and for each of (N, 16) its number."""
    halves = np.ascontiguousarray(hashes).view(np.uint64)  # (N, 2)
    order = np.lexsort((halves[:, 0], halves[:, 1]))
    sorted_halves = halves[order]
    differs = (sorted_halves[1:] != sorted_halves[:-1]).any(axis=1)
    number = np.zeros(len(hashes), np.int64)
    number[order[1:]] = np.cumsum(differs)
    return int(differs.sum()) + 1, number
