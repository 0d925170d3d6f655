"""Loss and validation metric of a run, epoch by epoch, as a picture."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from finetuner.errors import OptionError

_BLUE, _ORANGE, _GREY = "#1f5fa8", "#c8641e", "#8a8a8a"


def draw_curves(events: Iterable[Mapping[str, Any]], path: str | Path) -> None:
    """Draw the loss and the validation MAP of each epoch into a picture; the best epoch is marked.

    It needs matplotlib, and neither a screen nor its pyplot.

    Args:
        events: Those of a run: ``FitResult.events``, or the lines of ``events.jsonl``. Where an epoch was reported
            twice, the last report counts.
        path: The file; its suffix decides the format: ``.svg``, ``.png``, ``.pdf``.

    Raises:
        OptionError: If matplotlib is not installed, or does not know the suffix.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise OptionError(
            "curves are drawn by matplotlib, which is not installed: pip install 'finetuner[curves]'"
        ) from error
    told = {int(event["epoch"]): event for event in events if event["event"] == "epoch"}
    epochs = sorted(told)
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _curve(left, "training loss", epochs, [told[epoch]["loss"] for epoch in epochs], _BLUE)
    scores = [told[epoch].get("validation_map") for epoch in epochs]
    _curve(right, "validation MAP", epochs, scores, _ORANGE)
    _mark_best(right, epochs, scores)
    try:
        figure.savefig(path)
    except ValueError as error:
        raise OptionError(f"{path}: {error}") from error


def _curve(axes: Any, name: str, epochs: Sequence[int], values: Sequence[float | None], color: str) -> None:
    """Draw one value of each epoch; None and what is not finite leave a gap."""
    heights = [math.nan if value is None else value for value in values]
    many = len(epochs) > 60
    axes.plot(epochs, heights, color=color, linewidth=1.6, marker=None if many else "o", markersize=3.5)
    axes.set_title(name, loc="left", fontsize=11)
    axes.set_xlabel("epoch", color=_GREY)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.tick_params(colors=_GREY)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if not any(math.isfinite(height) for height in heights):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", color=_GREY)


def _mark_best(axes: Any, epochs: Sequence[int], scores: Sequence[float | None]) -> None:
    judged = [(score, -epoch) for epoch, score in zip(epochs, scores, strict=True) if score is not None]
    if judged:
        score, epoch = max(judged)  # of equal ones the first, as the training chooses
        axes.plot([-epoch], [score], "o", color=_ORANGE, markersize=8, markerfacecolor="none")
        axes.set_title(f"best: {score:.4f} in epoch {-epoch}", loc="right", fontsize=9, color=_GREY)
