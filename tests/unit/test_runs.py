"""Runs: their states on disk, their queue, and the process in which each one trains."""

import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest

from finetuner.errors import MatchDataError, OptionError, SourceError, UnknownRunError
from finetuner.matches import MatchSet
from finetuner.training.run_folder import FINAL, RunFolder
from finetuner.training.runs import Runs
from finetuner.training.worker import FAILED
from tests.two_classes import match_documents
from tests.waiting import until

DATA = MatchSet.from_documents(match_documents(10))


class Training:
    """Takes the place of the training process: it lasts until a test ends it."""

    started: ClassVar[list["Training"]]

    def __init__(self, command: list[str], **_: Any) -> None:
        self.run = RunFolder(Path(command[-1]))
        self._over = threading.Event()
        self._code = 0
        Training.started.append(self)

    def end(self, code: int) -> None:
        """Let the process end with a code."""
        if not self._over.is_set():
            self._code = code
            self._over.set()

    def kill(self) -> None:
        """Let the process end as SIGKILL would."""
        self.end(-signal.SIGKILL)

    def wait(self) -> int:
        """Return the exit code once the process has ended."""
        assert self._over.wait(60)
        return self._code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._over.is_set()


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[Training]:
    """Return the trainings that were started, in order; none of them is a process."""
    Training.started = []
    monkeypatch.setattr(subprocess, "Popen", Training)
    return Training.started


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Runs]]:
    """Return a maker of :class:`Runs` in one folder, which are closed at the end."""
    made: list[Runs] = []

    def make(finish: Callable[[RunFolder], dict[str, Any]] = lambda run: {}) -> Runs:
        made.append(Runs(tmp_path / "runs", lambda run: {}, finish))
        return made[-1]

    yield make
    for runs in made:
        runs.close()


def begun(runs: Runs, name: str, task: dict[str, Any] | None = None) -> RunFolder:
    """Return a new run that was given its data."""
    run, new = runs.create(task or {}, name)
    assert new
    runs.start(run, DATA)
    return run


def names(run: RunFolder) -> list[str]:
    """Return the names of a run's events."""
    return [event["event"] for event in run.events()]


# the folder


def test_a_new_run_is_queued_and_knows_its_task(tmp_path: Path) -> None:
    """What it shall do is on disk before anything happens, for another process to read."""
    RunFolder.create(tmp_path / "r1", {"promote": "never"})
    found = RunFolder(tmp_path / "r1")
    assert (found.id, found.state(), found.task()) == ("r1", "queued", {"promote": "never"})


def test_the_last_event_that_names_a_state_is_the_state(tmp_path: Path) -> None:
    """Progress in between changes no state."""
    run = RunFolder.create(tmp_path / "r1", {})
    for event in ("running", "epoch", "split"):
        run.report(event, {})
    assert run.state() == "running"


def test_the_summary_holds_the_latest_figures(tmp_path: Path) -> None:
    """For people: when it came into which state, its last epoch, its result."""
    run = RunFolder.create(tmp_path / "r1", {})
    run.report("running", {})
    run.report("split", {"training": 8})
    for epoch in (1, 2):
        run.report("epoch", {"epoch": epoch, "loss": 1 / epoch})
    run.report("succeeded", {"version": "v1"})
    summary = run.summary()
    times = [summary.pop(state) for state in ("queued", "running", "succeeded")]
    assert times == sorted(times)
    assert summary == {
        "run": "r1",
        "state": "succeeded",
        "split": {"training": 8},
        "epoch": 2,
        "loss": 0.5,
        "version": "v1",
    }


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    """Who reads while another process writes sees whole events only."""
    run = RunFolder.create(tmp_path / "r1", {})
    with (run.path / "events.jsonl").open("a") as file:
        file.write('{"event": "runn')
    assert names(run) == ["queued"]
    assert run.state() == "queued"


def test_events_after_a_torn_line_are_not_lost(tmp_path: Path) -> None:
    """What a crash has torn stays a line of its own, and the run can still be ended."""
    run = RunFolder.create(tmp_path / "r1", {})
    with (run.path / "events.jsonl").open("a") as file:
        file.write('{"event": "epoch", "lo')
    run.report("failed", {"reason": "crash"})
    run.report("note", {})
    assert names(run) == ["queued", "failed", "note"]


def test_a_run_without_a_readable_task_is_a_source_error(tmp_path: Path) -> None:
    """The file is named."""
    run = RunFolder.create(tmp_path / "r1", {})
    (run.path / "run.json").write_text("{")
    with pytest.raises(SourceError, match=r"run\.json: not the description of a run"):
        run.task()


# the queue


def test_a_run_goes_from_queued_over_running_to_succeeded(
    trainings: list[Training], make: Callable[..., Runs]
) -> None:
    """Its data is on disk when it trains, and what ``finish`` returns is part of its last event."""
    runs = make(lambda run: {"version": "v1", "of": run.id})
    run = begun(runs, "r1")
    until(lambda: trainings)
    assert run.state() == "running"
    assert np.array_equal(MatchSet.load(trainings[0].run.data).labels, DATA.labels)
    trainings[0].end(0)
    until(lambda: run.state() in FINAL)
    assert names(run) == ["queued", "running", "succeeded"]
    assert (run.summary()["version"], run.summary()["of"]) == ("v1", "r1")


def test_runs_train_one_at_a_time_in_order(trainings: list[Training], make: Callable[..., Runs]) -> None:
    """The next one starts when the one before has ended, however that went."""
    runs = make()
    first, second, third = (begun(runs, name) for name in ("r1", "r2", "r3"))
    for at, (run, code) in enumerate([(first, 0), (second, 1), (third, 0)]):
        until(lambda at=at: len(trainings) == at + 1)  # type: ignore[misc]
        assert trainings[at].run == run
        trainings[at].end(code)
        until(lambda run=run: run.state() in FINAL)  # type: ignore[misc]
    assert [run.state() for run in runs.list()] == ["succeeded", "failed", "succeeded"]


def test_after_a_restart_what_was_not_through_has_failed(
    trainings: list[Training], make: Callable[..., Runs], tmp_path: Path
) -> None:
    """A killed service leaves queued and running runs behind; what had ended stays as it ended."""
    for name, states in {
        "r1": ["running", "succeeded"],
        "r2": ["running"],
        "r3": [],
        "r4": ["cancelled"],
    }.items():
        run = RunFolder.create(tmp_path / "runs" / name, {})
        for state in states:
            run.report(state, {})
    runs = make()
    assert [run.state() for run in runs.list()] == ["succeeded", "failed", "failed", "cancelled"]
    assert runs.get("r2").summary()["reason"] == "the service stopped before the run was through"
    assert trainings == []


def test_a_run_that_is_cancelled_while_queued_never_trains(
    trainings: list[Training], make: Callable[..., Runs]
) -> None:
    """It is passed over when its turn comes, and so is one that was cancelled before it had its data."""
    runs = make()
    first = begun(runs, "r1")
    queued = begun(runs, "r2")
    waiting, _ = runs.create({}, "r3")
    for run in (queued, waiting):
        assert runs.cancel(run.id).state() == "cancelled"
    runs.start(waiting, DATA)
    last = begun(runs, "r4")
    until(lambda: trainings)
    trainings[0].end(0)
    until(lambda: len(trainings) == 2)
    assert [training.run for training in trainings] == [first, last]
    assert names(queued) == ["queued", "cancelled"]


def test_a_run_that_is_cancelled_while_running_is_killed(
    trainings: list[Training], make: Callable[..., Runs]
) -> None:
    """Its process ends, its result is not finished, and it is cancelled rather than failed."""
    finished: list[RunFolder] = []

    def finish(run: RunFolder) -> dict[str, Any]:
        finished.append(run)
        return {}

    runs = make(finish)
    run = begun(runs, "r1")
    until(lambda: trainings)
    assert runs.cancel("r1").state() == "cancelled"
    assert trainings[0].wait() == -signal.SIGKILL
    begun(runs, "r2")
    until(lambda: len(trainings) == 2)  # so the first one has been dealt with
    assert names(run) == ["queued", "running", "cancelled"]
    assert finished == []


def test_a_run_that_is_being_concluded_cannot_be_cancelled(
    trainings: list[Training], make: Callable[..., Runs]
) -> None:
    """What may already be promoted must not end as cancelled: the run goes on to succeed."""
    concluding, go_on = threading.Event(), threading.Event()

    def finish(run: RunFolder) -> dict[str, Any]:
        concluding.set()
        assert go_on.wait(60)
        return {}

    runs = make(finish)
    run = begun(runs, "r1")
    until(lambda: trainings)
    trainings[0].end(0)
    assert concluding.wait(60)
    assert runs.cancel("r1").state() == "running"
    go_on.set()
    until(lambda: run.state() in FINAL)
    assert names(run) == ["queued", "running", "succeeded"]


def test_a_run_that_has_ended_stays_as_it_is(trainings: list[Training], make: Callable[..., Runs]) -> None:
    """Neither a late cancel nor a late failure changes its state."""
    runs = make()
    run = begun(runs, "r1")
    until(lambda: trainings)
    trainings[0].end(0)
    until(lambda: run.state() in FINAL)
    runs.cancel("r1")
    runs.fail(run, MatchDataError("late"))
    assert names(run) == ["queued", "running", "succeeded"]


def test_a_run_whose_data_cannot_be_had_fails_with_the_error(make: Callable[..., Runs]) -> None:
    """The class and the message are the reason."""
    runs = make()
    run, _ = runs.create({}, "r1")
    runs.fail(run, MatchDataError("no such collection"))
    assert run.summary()["reason"] == "MatchDataError: no such collection"


def test_a_run_whose_data_cannot_be_written_fails(make: Callable[..., Runs]) -> None:
    """It does not wait for ever in a queue in which it is not."""
    runs = make()
    run, _ = runs.create({}, "r1")
    run.data.write_text("in the way")
    with pytest.raises(FileExistsError):
        runs.start(run, DATA)
    assert (run.state(), run.summary()["reason"][:15]) == ("failed", "FileExistsError")


@pytest.mark.parametrize("error", [MatchDataError("unfit"), OSError("disk full")])
def test_an_error_at_the_conclusion_fails_the_run_alone(
    trainings: list[Training], make: Callable[..., Runs], error: Exception
) -> None:
    """Its reason is the error, and the next run has its turn."""

    def finish(run: RunFolder) -> dict[str, Any]:
        if run.id == "r1":
            raise error
        return {}

    runs = make(finish)
    first, second = begun(runs, "r1"), begun(runs, "r2")
    for at in (0, 1):
        until(lambda at=at: len(trainings) == at + 1)  # type: ignore[misc]
        trainings[at].end(0)
    until(lambda: second.state() in FINAL)
    assert (first.state(), second.state()) == ("failed", "succeeded")
    assert first.summary()["reason"] == f"{type(error).__name__}: {error}"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (-signal.SIGSEGV, "the training process ended by signal SIGSEGV: MemoryError; see "),
        (7, "the training process ended with exit code 7: MemoryError; see "),
        (FAILED, "DivergedError: the loss is nan"),
    ],
)
def test_the_reason_tells_how_the_training_ended(
    trainings: list[Training], make: Callable[..., Runs], code: int, reason: str
) -> None:
    """A signal by its name with the last line of the log, or the error that the process reported."""
    run = begun(make(), "r1")
    until(lambda: trainings)
    (run.path / "log.txt").write_text("Traceback ...\nMemoryError\n")
    run.report("error", {"type": "DivergedError", "message": "the loss is nan"})
    trainings[0].end(code)
    until(lambda: run.state() in FINAL)
    assert run.state() == "failed"
    assert run.summary()["reason"].startswith(reason)


def test_closing_ends_the_run_that_trains_and_starts_no_other(
    trainings: list[Training], make: Callable[..., Runs]
) -> None:
    """The one that trains has failed; the one behind it waits for the restart, which fails it."""
    runs = make()
    first, second = begun(runs, "r1"), begun(runs, "r2")
    until(lambda: trainings)
    runs.close()
    assert (first.state(), second.state(), len(trainings)) == ("failed", "queued", 1)
    make()
    assert second.state() == "failed"


# names


def test_the_same_name_is_the_same_run(make: Callable[..., Runs]) -> None:
    """Asking twice is harmless, also after a restart: the first task stays."""
    runs = make()
    first = runs.create({"seed": 1}, "mine")
    again = runs.create({"seed": 2}, "mine")
    restarted = make().create({"seed": 3}, "mine")
    assert [first, again, restarted] == [(first[0], True), (first[0], False), (first[0], False)]
    assert first[0].task() == {"seed": 1}
    assert [run.id for run in runs.list()] == ["mine"]


def test_a_run_without_a_name_gets_one_of_its_own(make: Callable[..., Runs]) -> None:
    """Two of them are two runs."""
    runs = make()
    assert len({runs.create({})[0].id for _ in range(3)}) == 3


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "..", "", "a b", "x\n", "é", "x" * 65, "a\\b", "/etc"])
def test_a_name_that_could_be_a_path_is_refused(make: Callable[..., Runs], tmp_path: Path, name: str) -> None:
    """No run leaves the folder of runs, and none is hidden."""
    with pytest.raises(OptionError, match="use 1 to 64 of letters, digits"):
        make().create({}, name)
    assert list(tmp_path.rglob("run.json")) == []


def test_what_a_crash_left_without_a_task_is_no_run(make: Callable[..., Runs], tmp_path: Path) -> None:
    """It is not listed, and its name can be used."""
    (tmp_path / "runs" / "r1" / "data").mkdir(parents=True)
    runs = make()
    assert runs.list() == []
    run, new = runs.create({}, "r1")
    assert (new, names(run), run.data.exists()) == (True, ["queued"], False)


def test_an_unknown_run_is_named_with_those_that_are_known(make: Callable[..., Runs]) -> None:
    """For looking it up and for cancelling it; a path is never followed."""
    runs = make()
    with pytest.raises(UnknownRunError, match=r"there is no run '\.\./runs/r1'; known are none"):
        runs.get("../runs/r1")
    runs.create({}, "r1")
    runs.create({}, "r2")
    with pytest.raises(UnknownRunError, match="there is no run 'r3'; known are r1, r2"):
        runs.cancel("r3")


def test_a_run_without_events_has_failed(make: Callable[..., Runs]) -> None:
    """What a crash left empty, or a person deleted, neither stops a start nor looks as if it trained."""
    run, _ = make().create({}, "r1")
    (run.path / "events.jsonl").write_bytes(b"")
    assert run.state() == "failed"
    (run.path / "events.jsonl").unlink()
    assert (run.state(), run.summary()) == ("failed", {"run": "r1", "state": "failed"})


def test_events_are_read_on_from_a_position(make: Callable[..., Runs]) -> None:
    """A watcher sees each event once, and a line that is still being written only when it is whole."""
    run, _ = make().create({}, "r1")
    first, position = run.events_after(0)
    with (run.path / "events.jsonl").open("ab") as file:
        file.write(b'{"event": "epo')
    assert ([one["event"] for one in first], run.events_after(position)) == (["queued"], ([], position))
    with (run.path / "events.jsonl").open("ab") as file:
        file.write(b'ch"}\n')
    assert run.events_after(position)[0] == [{"event": "epoch"}]


def test_a_run_whose_folder_is_gone_does_not_stop_the_next(
    trainings: list[Training], make: Callable[..., Runs]
) -> None:
    """The queue goes on after a run that a person has deleted while it waited."""
    runs = make()
    first, gone, after = (begun(runs, name) for name in ("first", "gone", "after"))
    until(lambda: trainings)
    shutil.rmtree(gone.path)
    trainings[0].end(0)
    until(lambda: len(trainings) == 2)
    trainings[1].end(0)
    until(lambda: after.state() == "succeeded")
    assert first.state() == "succeeded"
