"""What the training process reports, and how it ends."""

import errno
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from finetuner import worker
from finetuner.errors import DivergedError
from finetuner.lifecycle import Registry
from finetuner.matches import MatchSet
from finetuner.training.options import TrainingOptions
from finetuner.training.process import DISK_FULL, FAILED
from finetuner.training.run_folder import RunFolder
from finetuner.worker import carry_out
from tests.two_classes import SPEC, encoder, match_documents


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Return a run that has begun."""
    run = RunFolder.create(tmp_path / "r1", {})
    run.report("running", {"parent_version": "v0", "rivals": []})
    return run


def told(run: RunFolder) -> list[dict[str, Any]]:
    """Return what was reported of the training."""
    return [
        {name: value for name, value in event.items() if name != "time"}
        for event in run.events()
        if event["event"] not in ("queued", "running", "resumed")
    ]


def test_what_is_told_already_is_not_told_again(run: RunFolder) -> None:
    """A training that goes on begins a little before its end; an epoch counts by its number, and new things are told."""
    before: list[tuple[str, dict[str, Any]]] = [
        ("split", {"training": 8, "validation": 2}),
        ("epoch", {"epoch": 1, "loss": 0.5}),
    ]
    report = worker._report_once(run)
    for event in before:
        report(*event)
    run.report("resumed", {})
    again = worker._report_once(run)
    for event in before:
        again(*event)
    again("epoch", {"epoch": 1, "loss": 0.25})
    again("split", {"training": 9, "validation": 2})
    again("epoch", {"epoch": 2, "loss": 0.25})
    assert [(one["event"], one.get("epoch", one.get("training"))) for one in told(run)] == [
        ("split", 8),
        ("epoch", 1),
        ("split", 9),
        ("epoch", 2),
    ]


def test_a_run_leaves_a_candidate_with_maps_and_a_report(tmp_path: Path) -> None:
    """What becomes of the run needs the first, an old index the second, and people the third."""
    registry = Registry(tmp_path)
    encoder().save(tmp_path / "base")
    registry.register(tmp_path / "base", SPEC, {"parent": None, "run": None})
    options = TrainingOptions(epochs=1, batch_size=32, holdout=0.3).dict()
    task = {"encoder": SPEC.as_dict(), "versions": str(registry.folder), "options": options}
    run = RunFolder.create(tmp_path / "run", {**task, "features": "", "feature_cache_bytes": 0})
    run.report("running", {"parent_version": "v0", "rivals": ["v0"]})
    run.keep_data(MatchSet.from_documents(match_documents(100)))
    assert carry_out(run) == 0
    assert {path.name for path in run.candidate.iterdir()} >= {"model.safetensors", "maps"}
    assert {path.name for path in run.path.glob("report.*")} == {"report.html", "report.json"}
    assert [event["event"] for event in run.events()][-3:] == ["line", "evaluated", "maps"]


def test_progress_comes_more_seldom_the_longer_a_run_trains(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten hours of a report a second are some thousand events, which are still read at once."""
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr(RunFolder, "report", lambda self, event, figures: steps.append(figures["step"]))
    steps: list[int] = []
    report = worker._report_once(run)
    for step in range(36_000):
        now += 1
        report("progress", {"step": step})
    assert steps[:1000] == list(range(1000))
    assert 3_000 < len(steps) < 6_000


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DivergedError("the loss is nan"), FAILED, "the loss is nan"),
        (OSError(errno.ENOSPC, "No space left on device"), DISK_FULL, "[Errno 28] No space left on device"),
        (OSError("cannot be written: (os error 27)"), DISK_FULL, "cannot be written: (os error 27)"),
    ],
)
def test_an_error_is_told_and_is_the_exit_code(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, message: str
) -> None:
    """With its class and message; a full disk in a code of its own, since there may be no room to tell."""
    (run.path / "half.part").write_text("")

    def fail(run: RunFolder) -> None:
        raise error

    monkeypatch.setattr(worker, "_train", fail)
    assert carry_out(run) == code
    assert told(run) == [{"event": "error", "type": type(error).__name__, "message": message}]
    assert (run.path / "half.part").exists() == (code == FAILED)


def test_a_full_disk_without_room_to_tell_is_the_exit_code(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where not even the error can be written."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(worker, "_train", full)
    monkeypatch.setattr(RunFolder, "report", full)
    assert carry_out(run) == DISK_FULL


def test_another_error_of_the_system_is_no_full_disk(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the process with its trace in the log."""

    def gone(run: RunFolder) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "run.json")

    monkeypatch.setattr(worker, "_train", gone)
    with pytest.raises(FileNotFoundError):
        carry_out(run)


def test_the_end_of_a_run_is_drawn(run: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """Where an epoch was through; without matplotlib the log says so once, and the run goes well all the same."""
    worker._draw(run)
    assert not (run.path / "curves.svg").exists()
    run.report("epoch", {"epoch": 1, "loss": 0.5, "validation_map": 0.5})
    worker._draw(run)
    assert sorted(path.name for path in run.path.glob("curves*")) == ["curves.svg"]
    (run.path / "curves.svg").unlink()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with caplog.at_level(logging.INFO):
        worker._draw(run)
    assert [record.getMessage()[:13] for record in caplog.records] == ["no curves.svg"]
    assert not (run.path / "curves.svg").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_picture_that_goes_wrong_is_no_error_of_the_run(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a library for pictures raises, the training has ended as it has."""
    drawn: list[Path] = []

    def broken(events: object, path: Path) -> None:
        drawn.append(path)
        raise RuntimeError("no fonts")

    run.report("epoch", {"epoch": 1, "loss": 0.5, "validation_map": 0.5})
    monkeypatch.setattr(worker, "draw_curves", broken)
    worker._draw_aside(run)
    assert [path.parent for path in drawn] == [run.path]


def test_events_of_states_are_never_taken_for_told(run: RunFolder) -> None:
    """They are the service's; and what is compared is JSON, whatever the order of its names."""
    assert worker._told({"event": "split", "b": 1, "a": [1, 2], "time": 5}) == json.dumps(
        {"a": [1, 2], "b": 1, "event": "split"}
    )
