"""Runs: their states on disk, their queue, and the process in which each one trains."""

import errno
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest

from finetuner.errors import MatchDataError, OptionError, TrainingError, UnknownRunError
from finetuner.matches import MatchSet
from finetuner.training.process import DISK_FULL, FAILED
from finetuner.training.run_folder import FINAL, RunFolder
from finetuner.training.runs import Runs
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

    def wait(self, seconds: float = 60) -> int:
        """Return the exit code once the process has ended."""
        if not self._over.wait(seconds):
            raise subprocess.TimeoutExpired("training", seconds)
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

    def make(finish: Callable[[RunFolder], dict[str, Any]] = lambda run: {}, keep: int = 20) -> Runs:
        made.append(Runs(tmp_path / "runs", lambda run: {"active_version": "v0"}, finish, keep=keep))
        return made[-1]

    yield make
    for runs in made:
        runs.close()


def begun(runs: Runs, name: str, task: dict[str, Any] | None = None) -> RunFolder:
    """Return a new run that was given its data."""
    run, new = runs.create(task or {}, name)
    assert new
    runs.start(run, DATA, {})
    return run


def names(run: RunFolder) -> list[str]:
    """Return the names of a run's events."""
    return [event["event"] for event in run.events()]


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
    assert names(run) == ["queued", "data", "running", "succeeded"]
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
    runs.start(waiting, DATA, {})
    last = begun(runs, "r4")
    until(lambda: trainings)
    trainings[0].end(0)
    until(lambda: len(trainings) == 2)
    assert [training.run for training in trainings] == [first, last]
    assert names(queued) == ["queued", "data", "cancelled"]


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
    assert names(run) == ["queued", "data", "running", "cancelled"]
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
    assert names(run) == ["queued", "data", "running", "succeeded"]


def test_a_run_that_has_ended_stays_as_it_is(trainings: list[Training], make: Callable[..., Runs]) -> None:
    """Neither a late cancel nor a late failure changes its state."""
    runs = make()
    run = begun(runs, "r1")
    until(lambda: trainings)
    trainings[0].end(0)
    until(lambda: run.state() in FINAL)
    runs.cancel("r1")
    runs.fail(run, MatchDataError("late"))
    assert names(run) == ["queued", "data", "running", "succeeded"]


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
    with pytest.raises(NotADirectoryError):
        runs.start(run, DATA, {})
    assert (run.state(), run.summary()["reason"][:18]) == ("failed", "NotADirectoryError")
    assert not (run.path / "data.part").exists()


@pytest.mark.parametrize(
    "error", [MatchDataError("unfit"), OSError("disk full"), KeyError("a fault of ours")]
)
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
        (-signal.SIGKILL, "the training process ended by signal SIGKILL, as where memory runs out; "),
        (FAILED, "DivergedError: the loss is nan"),
        (DISK_FULL, "the disk is full (the loss is nan); make room, then /resume"),
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


# after a restart


def test_closing_ends_the_process_and_starts_no_other(
    trainings: list[Training], make: Callable[..., Runs]
) -> None:
    """The run that trains goes on after the restart, before the one that waits behind it."""
    runs = make()
    first, second = begun(runs, "r1"), begun(runs, "r2")
    until(lambda: trainings)
    runs.close()
    assert trainings[0].wait() == -signal.SIGKILL
    assert (first.state(), second.state(), len(trainings)) == ("running", "queued", 1)
    make()
    for at in (1, 2):
        until(lambda at=at: len(trainings) == at + 1)  # type: ignore[misc]
        trainings[at].end(0)
    until(lambda: second.state() in FINAL)
    assert [training.run for training in trainings] == [first, first, second]
    assert names(first) == ["queued", "data", "running", "stopped", "resumed", "succeeded"]


def test_what_a_killed_service_has_left_goes_on_in_its_order(
    trainings: list[Training], make: Callable[..., Runs], tmp_path: Path
) -> None:
    """First what was running, then the queue as data came; what had ended stays, and what has no data has failed."""
    left = {
        "r1": ["running", "succeeded"],
        "r2": [],
        "r3": ["cancelled"],
        "r4": [],
        "r5": ["running"],
        "r6": [],
    }
    made = {name: RunFolder.create(tmp_path / "runs" / name, {}) for name in left}
    for name in ("r1", "r3", "r4", "r2", "r5"):
        made[name].keep_data(DATA)
        for event in ["data", *left[name]]:
            made[name].report(event, {})
            time.sleep(0.001)  # what events are ordered by
    make()
    for at in range(3):
        until(lambda at=at: len(trainings) == at + 1)  # type: ignore[misc]
        trainings[at].end(0)
    until(lambda: made["r2"].state() in FINAL)
    assert [training.run.id for training in trainings] == ["r5", "r4", "r2"]
    assert made["r5"].events()[-2]["reason"] == "the service stopped"
    assert made["r6"].summary()["reason"].startswith("the service stopped before the run had its data")
    assert [made[name].state() for name in ("r1", "r3", "r6")] == ["succeeded", "cancelled", "failed"]


def test_a_run_begins_once(trainings: list[Training], make: Callable[..., Runs]) -> None:
    """Where it started and what it is compared with stay those of its first beginning, however often it goes on."""
    runs = make()
    run = begun(runs, "r1")
    until(lambda: trainings)
    trainings[0].end(1)
    until(lambda: run.state() in FINAL)
    runs.resume("r1")
    until(lambda: len(trainings) == 2)
    runs.close()
    make()
    until(lambda: len(trainings) == 3)
    assert names(run) == ["queued", "data", "running", "failed", "queued", "resumed", "stopped", "resumed"]
    assert run.summary()["active_version"] == "v0"


# resuming


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_run_that_ended_without_success_is_resumed(
    trainings: list[Training], make: Callable[..., Runs], state: str
) -> None:
    """It goes back to the end of the queue with its data, and may succeed."""
    runs = make()
    run = begun(runs, "r1")
    until(lambda: trainings)
    if state == "failed":
        trainings[0].end(1)
    else:
        runs.cancel("r1")
    until(lambda: run.state() in FINAL)
    assert run.state() == state
    runs.resume("r1")
    until(lambda: len(trainings) == 2)
    assert (trainings[1].run, run.data.exists()) == (run, True)
    trainings[1].end(0)
    until(lambda: run.state() in FINAL)
    assert names(run) == ["queued", "data", "running", state, "queued", "resumed", "succeeded"]
    until(lambda: not run.data.exists())


def test_a_run_is_cancelled_and_resumed_before_its_process_has_ended(
    trainings: list[Training], make: Callable[..., Runs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the process that was cancelled is not taken for the end of the run, and no two train at once."""
    monkeypatch.setattr(Training, "kill", lambda self: None)
    runs = make()
    run = begun(runs, "r1")
    until(lambda: trainings)
    runs.cancel("r1")
    runs.resume("r1")
    assert len(trainings) == 1
    trainings[0].end(-signal.SIGKILL)
    until(lambda: len(trainings) == 2)
    trainings[1].end(0)
    until(lambda: run.state() in FINAL)
    assert names(run) == ["queued", "data", "running", "cancelled", "queued", "resumed", "succeeded"]


def test_a_run_whose_conclusion_failed_can_be_resumed_and_cancelled(
    trainings: list[Training], make: Callable[..., Runs]
) -> None:
    """What was being concluded once is not taken for what is being concluded."""

    def finish(run: RunFolder) -> dict[str, Any]:
        raise MatchDataError("unfit")

    runs = make(finish)
    run = begun(runs, "r1")
    until(lambda: trainings)
    trainings[0].end(0)
    until(lambda: run.state() in FINAL)
    begun(runs, "r2")
    until(lambda: len(trainings) == 2)  # so the first one has been dealt with
    runs.resume("r1")
    assert runs.cancel("r1").state() == "cancelled"


def test_the_reason_of_a_resumed_run_is_its_own(trainings: list[Training], make: Callable[..., Runs]) -> None:
    """Neither the error nor the log of the process before is told for the one that ended now."""
    runs = make()
    run = begun(runs, "r1")
    until(lambda: trainings)
    run.log.write_text("before\n")
    run.report("error", {"type": "DivergedError", "message": "the loss is nan"})
    trainings[0].end(FAILED)
    until(lambda: run.state() in FINAL)
    runs.resume("r1")
    until(lambda: len(trainings) == 2)
    trainings[1].end(FAILED)
    until(lambda: run.state() in FINAL)
    assert run.summary()["reason"] == f"the training process ended with exit code {FAILED}; see {run.log}"


def test_a_run_that_cannot_be_resumed_says_why(trainings: list[Training], make: Callable[..., Runs]) -> None:
    """One that has not ended, has succeeded, never had its data, or is unknown; each stays as it is."""
    runs = make()
    first = begun(runs, "r1")
    runs.create({}, "r2")
    until(lambda: trainings)
    for name, why in {"r1": "'r1' is running", "r2": "'r2' is queued"}.items():
        with pytest.raises(TrainingError, match=f"{why}; one that failed or was cancelled can be resumed"):
            runs.resume(name)
    trainings[0].end(0)
    until(lambda: first.state() in FINAL)
    runs.cancel("r2")
    for name, why in {"r1": "'r1' is succeeded", "r2": "'r2' has no data to go on with"}.items():
        with pytest.raises(TrainingError, match=why):
            runs.resume(name)
    with pytest.raises(UnknownRunError, match="there is no run 'r3'"):
        runs.resume("r3")
    assert [run.state() for run in runs.list()] == ["succeeded", "cancelled"]


def test_only_the_last_runs_that_ended_can_be_resumed(
    trainings: list[Training], make: Callable[..., Runs]
) -> None:
    """Of older ones data, weights and state are removed; their events, log and picture stay."""
    runs = make(keep=1)
    first, second = (begun(runs, name) for name in ("r1", "r2"))
    for at, run in enumerate((first, second)):
        until(lambda at=at: len(trainings) == at + 1)  # type: ignore[misc]
        run.candidate.mkdir()
        run.checkpoint.write_text("")
        trainings[at].end(1)
    third = begun(runs, "r3")
    until(lambda: len(trainings) == 3)  # so the second one has been dealt with
    assert [path.exists() for path in (first.data, first.candidate, first.checkpoint)] == [False] * 3
    assert [path.exists() for path in (second.data, second.candidate, second.checkpoint)] == [True] * 3
    assert (first.state(), third.data.exists()) == ("failed", True)
    with pytest.raises(TrainingError, match=r"'r1' has no data to go on with: .*keep_runs=1"):
        runs.resume("r1")


# time and room


def test_a_run_that_takes_too_long_is_ended(trainings: list[Training], make: Callable[..., Runs]) -> None:
    """Its process is killed, the reason is the option, and when it is resumed it has the same time again."""
    runs = make()
    run = begun(runs, "r1", {"max_seconds": 0.02})
    for attempt in (1, 2):
        until(lambda: run.state() in FINAL)
        assert run.summary()["reason"] == "it took longer than max_seconds=0.02"
        assert trainings[-1].wait() == -signal.SIGKILL
        if attempt == 1:
            runs.resume("r1")
    assert len(trainings) == 2


def test_the_end_of_a_run_is_told_once_there_is_room(
    trainings: list[Training], make: Callable[..., Runs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk is so full that not even the end can be written, it is written later, and the queue goes on."""
    runs = make()
    first, second = begun(runs, "r1"), begun(runs, "r2")
    until(lambda: trainings)
    tried = threading.Event()

    def full(*_: object) -> None:
        tried.set()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "report", full)
        patch.setattr(runs, "PAUSE", 0.01)
        trainings[0].end(DISK_FULL)
        assert tried.wait(60)
        with pytest.raises(OSError, match="No space"):
            runs.cancel("r2")
        assert (first.state(), len(trainings)) == ("running", 1)
    until(lambda: len(trainings) == 2)
    assert first.summary()["reason"] == "the disk is full; make room, then /resume"
    assert second.state() == "running"


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
