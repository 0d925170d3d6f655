"""The report of a run: what it costs, what is in it, and that nothing of it ends the run."""

import errno
import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.errors import TrainingError
from finetuner.features import FeatureCache
from finetuner.matches import MatchSet
from finetuner.models import Encoder
from finetuner.reports import Report, of_run, report, runs, saved
from finetuner.reports.promotion import promotion
from finetuner.training.judge import judge
from finetuner.training.options import TrainingOptions
from tests.two_classes import encoder, match_documents

ENCODERS = {"v0": encoder(1), "candidate": encoder(0)}
DATA = MatchSet.from_documents(match_documents(60))
HOLDOUT = DATA.only(np.arange(12))
OPTIONS = TrainingOptions(primary="ndcg@5", confidence=0.9, seed=3)
DECISION = {"promoted": False, "reason": "not clearly better <than> it"}


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    """Return a cache of its own."""
    return FeatureCache(tmp_path / "features", most_bytes=2**30)


def compared(cache: FeatureCache, holdout: MatchSet = HOLDOUT) -> list[dict[str, Any]]:
    """Return the events of a run that has compared its encoders, on a guard too."""
    parts = (DATA.only(np.arange(20, 60)), DATA.only(np.arange(0)), holdout)
    guards = {"other": MatchSet.from_documents(match_documents(30, seed=7))}
    evaluation = judge(ENCODERS, parts, guards, OPTIONS, cache=cache)
    line = {"event": "line", "share": 0.5, "scores": {"0": 0.25, "0.5": 0.75, "1": 0.5}}
    epoch = {"event": "epoch", "epoch": 1, "loss": 0.5, "validation_map": 0.5}
    return [epoch, line, {"event": "evaluated", **evaluation}]


def test_a_report_tells_what_the_run_compared(cache: FeatureCache, tmp_path: Path) -> None:
    """Metric, confidence, gain and guards are those on which the gate decides."""
    events = compared(cache)
    assert of_run(ENCODERS, HOLDOUT, tmp_path / "r1", events=events, cache=cache, seed=OPTIONS.seed)
    data, page = saved(tmp_path / "r1")
    evaluated = events[-1]
    told = data["views"][0]["differences"]["v0"]["ndcg@5"]
    assert (data["title"], data["metric"], data["confidence"]) == ("Run r1", "ndcg@5", 0.9)
    assert [told["mean"], told["low"], told["high"]] == pytest.approx(evaluated["gain"]["v0"], abs=1e-9)
    [guard] = data["promotion"]["guards"]
    assert guard["gain"]["v0"] == pytest.approx(evaluated["guards"]["other"]["gain"]["v0"])
    assert data["promotion"]["share"]["share"] == 0.5
    assert [one["epoch"] for one in data["epochs"]] == [1]
    assert "<title>Run r1</title>" in page


def test_contents_that_the_comparison_has_not_seen_are_not_looked_at(
    cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where judged matches decide, all is in the cache already: a report costs no forward pass."""
    events = compared(cache)

    def embeds(self: Encoder, contents: object) -> None:
        raise AssertionError("a forward pass")

    monkeypatch.setattr(Encoder, "embed_vectors", embeds)
    assert of_run(ENCODERS, HOLDOUT, tmp_path / "r1", events=events, cache=cache, seed=0)
    used = len(np.unique([*HOLDOUT.anchors, *HOLDOUT.matches]))
    assert saved(tmp_path / "r1").data["data"]["contents"] == used < len(DATA.ids)


def test_the_view_that_does_not_decide_asks_some_anchors(
    cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large run is not ranked twice as a whole; the page says how many were asked."""
    monkeypatch.setattr(runs, "BESIDE", 5)
    of_run(ENCODERS, HOLDOUT, tmp_path / "r1", events=compared(cache), cache=cache, seed=0)
    data, page = saved(tmp_path / "r1")
    asked = [(view["over"], view["anchors"], view["not_drawn"], view["excluded"]) for view in data["views"]]
    assert asked == [("judged", 12, 0, 0), ("corpus", 5, 7, 0)]
    assert "12 of 12 anchors have a positive match. 5 of these, drawn by chance, are asked." in page


def test_nothing_to_rank_for_means_no_report(
    cache: FeatureCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that holds nothing out goes on, and its log says why there is no report."""
    caplog.set_level(logging.INFO)
    nothing = DATA.only(np.arange(0))
    assert not of_run(ENCODERS, nothing, tmp_path, events=compared(cache, nothing), cache=cache, seed=0)
    assert "no report: none of the 0 anchors" in caplog.text
    assert not (tmp_path / "report.html").exists()


def test_a_report_that_cannot_be_written_is_no_failure(
    cache: FeatureCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log tells it."""
    (tmp_path / "r1").write_text("a file where the folder should be")
    assert not of_run(ENCODERS, HOLDOUT, tmp_path / "r1", events=[], cache=cache, seed=0)
    assert "no report: " in caplog.text


def test_a_full_disk_is_raised(cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for whatever else a run writes, somebody has to make room."""

    def full(self: Report, folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Report, "save", full)
    with pytest.raises(OSError, match="No space left"):
        of_run(ENCODERS, HOLDOUT, tmp_path, events=[], cache=cache, seed=0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_that_nobody_expects_is_no_failure(
    cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake in a chart must not cost a night's training."""

    def broken(self: Report, folder: Path) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Report, "save", broken)
    assert not of_run(ENCODERS, HOLDOUT, tmp_path, events=[], cache=cache, seed=0)


def test_a_report_that_takes_long_is_not_waited_for(
    cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The run goes on without it."""
    made = report(ENCODERS, HOLDOUT)
    waits = threading.Event()

    def slow(*_: object, **__: object) -> Report:
        waits.wait(5)
        return made

    monkeypatch.setattr(runs, "report", slow)
    assert not of_run(ENCODERS, HOLDOUT, tmp_path, events=[], cache=cache, seed=0, seconds=0.01)
    waits.set()
    assert "no report: it takes longer than 0.01 s" in caplog.text


def test_a_decision_that_came_later_is_told(cache: FeatureCache, tmp_path: Path) -> None:
    """The gate decides when the report is written already; what it says is text on the page, and in the data."""
    of_run(ENCODERS, HOLDOUT, tmp_path, events=[], cache=cache, seed=0)
    assert saved(tmp_path).data["promotion"]["decision"] is None
    data, page = saved(tmp_path, DECISION)
    assert data["promotion"]["decision"] == DECISION
    assert "<b>Not promoted</b>: not clearly better &lt;than&gt; it.</p>" in page


def test_a_decision_that_is_told_stays(cache: FeatureCache, tmp_path: Path) -> None:
    """What was known when the report was written is not replaced."""
    known = promotion(DECISION, None, None, None)
    report(ENCODERS, HOLDOUT, promotion=known, cache=cache).save(tmp_path)
    other = {"promoted": True, "reason": "better"}
    assert saved(tmp_path, other) == saved(tmp_path)
    assert saved(tmp_path).data["promotion"]["decision"] == DECISION


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_run_without_a_report_is_told(cache: FeatureCache, tmp_path: Path, damage: str) -> None:
    """It trains yet, had nothing to rank for, or its file is damaged; where it would be is nobody's business."""
    if damage == "cut":
        of_run(ENCODERS, HOLDOUT, tmp_path, events=[], cache=cache, seed=0)
        (tmp_path / "report.json").write_text("{")
    with pytest.raises(
        TrainingError, match=r"has no report: .*; one is written at the end of a training"
    ) as told:
        saved(tmp_path)
    assert str(tmp_path) not in str(told.value)
