"""What a run tells of itself while it trains."""

import math
import time
from collections.abc import Callable
from typing import Any

from finetuner.training.options import TrainingOptions
from finetuner.training.state import Place

Report = Callable[[str, dict[str, Any]], None]
"""Called with the name of an event and its figures."""

EVERY = 1.0
"""Seconds between two events about progress within an epoch."""


class Watch:
    """Tells how far a training is, and how long it will take.

    Args:
        options: The run's.
        batches: Batches in an epoch at most.
        report: Receives the events.
    """

    def __init__(self, options: TrainingOptions, batches: int, report: Report) -> None:
        self.steps = -(-batches // options.accumulate)
        self._epochs = options.epochs
        self._report = report
        self._began = self._told = time.monotonic()
        self._taken = 0

    def step(self, place: Place) -> None:
        """Report ``progress`` after a step, if the last time is a second ago."""
        now = time.monotonic()
        self._taken += 1
        if now - self._told < EVERY:
            return
        self._told = now
        figures = {"step": place.step, "steps": self.steps, "loss": place.losses[-1]}
        self._report("progress", {**self._where(place), **figures})

    def epoch(self, place: Place, score: float | None) -> None:
        """Report ``epoch`` after an epoch: its mean loss, and the MAP on the validation anchors None without."""
        figures = {"loss": math.fsum(place.losses) / len(place.losses), "validation_map": score}
        self._report("epoch", {**self._where(place), **figures})

    def memory(self, piece: int | None, contents: int) -> None:
        """Report ``memory`` if from now on not all of a batch's contents go through the module together."""
        if piece is not None and piece < contents:
            self._report("memory", {"piece": piece, "contents": contents})

    def _where(self, place: Place) -> dict[str, Any]:
        """Return the epoch, and the seconds until the last one will be over if all goes on as it went."""
        each = (time.monotonic() - self._began) / max(1, self._taken)
        left = self._epochs * self.steps - place.steps
        return {
            "epoch": place.epoch + 1,
            "epochs": self._epochs,
            "seconds_left": round(each * max(0, left), 1),
        }
