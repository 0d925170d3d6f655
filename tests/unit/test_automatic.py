"""Who starts runs by itself: the decision is that of finetuner.continual.due, here it is carried out."""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from executors.client import FlowClient
from executors.endpoints.automatic import AutomaticStarter
from executors.endpoints.starting import FitOptions, RunStarter
from finetuner.continual.due import Earlier
from finetuner.continual.settings import AutomaticRuns
from finetuner.continual.since import Since
from finetuner.errors import OptionError
from finetuner.service import TuningService
from finetuner.service.tuning import Tuning
from finetuner.service_settings import ServiceSettings
from finetuner.training.run_options import RunOptions
from tests.two_classes import SPEC
from tests.waiting import until

SETTINGS = AutomaticRuns.parse(
    {
        "collection": "c",
        "min_new_judgements": 5,
        "poll_seconds": 0.001,
        "options": {"epochs": 3, "guards": ["golden"]},
    },
    where="tune",
)


class World:
    """A service, its runs and a data Executor, as far as a starter sees them."""

    def __init__(self) -> None:
        self.trains = True
        self.last: Earlier | None = None
        self.since_active: Since | None = Since(4, "v1")
        self.news = {"position": 7, "new_judgements": 5}
        self.trouble: Exception | None = None
        self.runs: list[FitOptions] = []
        self.started: list[tuple[str, Since | None, bool]] = []
        self.asked: list[int] = []

    def post(self, endpoint: str, *, collection: str, since: int) -> list[Any]:
        """Answer as the data Executor."""
        assert (endpoint, collection) == ("/news", "c")
        self.asked.append(since)
        if self.trouble is not None:
            raise self.trouble
        return [SimpleNamespace(tags=self.news)]

    def last_automatic(self, collection: str) -> Earlier | None:
        """Return the last run."""
        return self.last

    def since(self, asked: str, collection: str) -> Since:
        """Return what the active version learnt from."""
        if self.since_active is None:
            raise OptionError("it learnt from another collection")
        return self.since_active

    def create_run(self, options: FitOptions) -> tuple[Any, bool, Since | None]:
        """Make a run, once of each name."""
        new = options.run not in [run.run for run in self.runs]
        self.runs += [options] if new else []
        run = SimpleNamespace(id=options.run, state=lambda: "failed", summary=lambda: {"state": "failed"})
        return run, new, None if options.since is None else self.since(options.since, "c")

    def pull_and_start(self, run: Any, options: FitOptions, since: Since | None, *, or_all: bool) -> None:
        """Start a run."""
        self.started.append((run.id, since, or_all))

    def starter(self) -> AutomaticStarter:
        """Return a starter in this world."""
        return AutomaticStarter(cast(RunStarter, self), cast(Tuning, self), cast(FlowClient, self), SETTINGS)


def test_a_run_that_is_due_learns_from_exactly_what_its_name_tells() -> None:
    """From the active version, with what is new since then, as the operator says; if that was deleted, from all."""
    world = World()
    world.starter().look()
    [options] = world.runs
    assert world.started == [("auto-c-7", Since(4, "v1"), True)]
    assert (options.collection, options.emit) == ("c", {"position": 7})
    assert (options.parent, options.since, options.epochs, options.guards) == (
        "active",
        "active",
        3,
        ["golden"],
    )


@pytest.mark.parametrize("learnt", [None, Since(0, "v0")])
def test_where_the_active_version_learnt_from_something_else_all_is_learnt(learnt: Since | None) -> None:
    """From another collection, from documents, or from nothing."""
    world = World()
    world.since_active = learnt
    world.starter().look()
    assert world.started == [("auto-c-7", None, True)]
    assert world.runs[0].since is None


def test_a_run_is_started_once() -> None:
    """Who asks again, such as another process after this one has ended, finds the run by its name."""
    world = World()
    for _ in range(2):
        world.starter().look()
    assert len(world.started) == 1


def test_what_is_new_is_counted_from_the_last_run() -> None:
    """Also where that one has failed."""
    world = World()
    world.last = Earlier(6, 0.0)
    world.news["new_judgements"] = 4
    world.starter().look()
    assert (world.asked, world.started) == ([6], [])


def test_after_a_collection_was_deleted_all_of_the_new_one_is_new() -> None:
    """Its positions are counted from the beginning."""
    world = World()
    world.last = Earlier(60, 0.0)
    world.starter().look()
    assert world.asked == [60, 0]
    assert len(world.started) == 1


def test_a_service_that_follows_starts_nothing() -> None:
    """Nor does it ask."""
    world = World()
    world.trains = False
    world.starter().look()
    assert (world.asked, world.started) == ([], [])


def told_of(trouble: Exception, caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what is logged while looking fails several times, until it does no longer and a run is started."""
    world = World()
    world.trouble = trouble
    starter = world.starter()
    starter.start()
    until(lambda: len(world.asked) > 3)
    world.trouble = None
    until(lambda: world.started)
    starter.close()
    return [record for record in caplog.records if "it is tried again" in record.getMessage()]


def test_a_failure_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is told once, and tried again until it is over; the thread ends with the service."""
    [told] = told_of(ConnectionError("nobody answers"), caplog)
    assert told.getMessage() == "automatic runs: nobody answers; it is tried again"
    assert told.exc_info is None
    assert "automatic runs" not in [thread.name for thread in threading.enumerate()]


def test_a_fault_of_ours_ends_nothing_either(caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody foresaw is told once, with where it was, and the next look has its chance."""
    [told] = told_of(KeyError("position"), caplog)
    assert told.getMessage() == "automatic runs: 'position'; it is tried again"
    assert told.exc_info is not None
    assert told.exc_info[0] is KeyError


def test_how_a_run_ended_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A failure as a warning: nobody waits for the run."""
    world = World()
    starter = world.starter()
    starter.look()
    world.last = Earlier(7, 0.0)
    for _ in range(2):
        starter.look()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told == ["automatic run auto-c-7: failed: "]


# what a service knows of earlier ones

Open = Callable[[], TuningService]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Open]:
    """Return what starts a service in one folder, in place of the one before."""
    made: list[TuningService] = []

    def start() -> TuningService:
        for service in made:
            service.close()
        settings = ServiceSettings(encoder=SPEC.name, encoder_options=dict(SPEC.options))
        made.append(TuningService(tmp_path, settings))
        return made[-1]

    yield start
    for service in made:
        service.close()


def test_the_next_process_knows_the_last_automatic_run(start: Open) -> None:
    """By its folder: which position it was at, and that it has ended; other runs play no part."""
    service = start()
    assert service.tuning.last_automatic("c") is None
    for name in ("auto-c-3", "auto-c-12", "auto-d-40", "mine"):
        service.tuning.create_run(RunOptions(), name)
    last = service.tuning.last_automatic("c")
    assert last is not None
    assert (last.position, last.has_ended) == (12, False)
    last = start().tuning.last_automatic("c")  # which has marked them: their data never came
    assert last is not None
    assert (last.position, last.has_ended) == (12, True)
