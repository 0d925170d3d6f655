"""The picture of a run's curves."""

import sys
from pathlib import Path
from typing import Any

import pytest

from finetuner.errors import OptionError
from finetuner.training.curves import draw_curves


def epochs(*scores: float | None) -> list[dict[str, Any]]:
    """Return the events of a run with these validation metrics."""
    told: list[dict[str, Any]] = [{"event": "running"}]
    for number, score in enumerate(scores, 1):
        told.append({"event": "epoch", "epoch": number, "loss": 1 / number, "validation_map": score})
    return [*told, {"event": "succeeded"}]


def drawn(monkeypatch: pytest.MonkeyPatch, events: list[dict[str, Any]], path: Path) -> list[Any]:
    """Draw, and return the axes."""
    from matplotlib.figure import Figure

    kept: list[Any] = []
    save = Figure.savefig

    def keep(figure: Figure, *given: Any) -> None:
        kept.extend(figure.axes)
        save(figure, *given)

    monkeypatch.setattr(Figure, "savefig", keep)
    draw_curves(events, path)
    return kept


def test_each_epoch_has_its_loss_and_its_metric_and_the_best_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two equal ones the first is the best, as for the training; an epoch that was told twice is drawn once."""
    told = [*epochs(0.5, 0.75, 0.75), *epochs(0.5)]
    loss, metric = drawn(monkeypatch, told, tmp_path / "curves.png")
    assert [list(line.get_xydata()[:, 1]) for line in loss.lines] == [[1, 1 / 2, 1 / 3]]
    assert [line.get_xydata().tolist() for line in metric.lines] == [
        [[1, 0.5], [2, 0.75], [3, 0.75]],
        [[2, 0.75]],
    ]
    assert metric.get_title("right") == "best: 0.7500 in epoch 2"
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("events", [[], epochs(None, None), epochs(float("nan"), 0.5), epochs(0.5)])
def test_a_run_without_figures_is_drawn_too(tmp_path: Path, events: list[dict[str, Any]]) -> None:
    """No epoch, no validation anchors, a value that is not finite, one epoch: a picture, and no error."""
    draw_curves(events, tmp_path / "curves.svg")
    assert b"<svg" in (tmp_path / "curves.svg").read_bytes()


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    """The file is named with what is known."""
    with pytest.raises(OptionError, match=r"curves\.xyz: .*png"):
        draw_curves(epochs(0.5), tmp_path / "curves.xyz")


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And training, which never needs it, can be imported."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(OptionError, match=r"pip install 'finetuner\[curves\]'"):
        draw_curves(epochs(0.5), tmp_path / "curves.svg")
