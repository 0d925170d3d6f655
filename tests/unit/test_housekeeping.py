"""What becomes of runs after the service has stopped."""

from pathlib import Path

import pytest

from finetuner.training.housekeeping import CRASHES, crashes, make_room, take_up
from finetuner.training.run_folder import RunFolder
from tests.unit.test_run_folder import DATA


def left(folder: Path, name: str, *events: str) -> RunFolder:
    """Return a run with its data that some events are reported of."""
    run = RunFolder.create(folder / name, {})
    run.keep_data(DATA)
    for event in events:
        run.report(event, {})
    return run


@pytest.mark.parametrize(
    ("events", "count"),
    [
        (["running"], 1),
        (["running", "stopped", "resumed"], 1),
        (["running", "epoch", "stopped", "resumed", "resumed", "resumed"], 3),
        (["running", "progress", "resumed", "progress", "resumed"], 3),
        (["running", "resumed", "epoch", "resumed"], 1),
        (["running", "resumed", "resumed", "failed", "queued", "resumed"], 1),
    ],
)
def test_crashes_are_counted_as_long_as_a_run_comes_no_further(events: list[str], count: int) -> None:
    """A stop with notice is none, and an epoch or a person begins anew; steps within an epoch do not."""
    assert crashes([{"event": event} for event in events]) == count


def test_a_run_that_the_service_keeps_dying_of_fails(tmp_path: Path) -> None:
    """It is not taken up for ever; the reason tells how to try it again."""
    run = left(tmp_path, "r1", "running", *["resumed"] * (CRASHES - 2))
    assert take_up([run]) == [run]
    run.report("resumed", {})
    assert take_up([run]) == []
    assert run.summary()["reason"].startswith("the service died 3 times in a row while this run trained")
    run.move("queued", {})
    assert take_up([run]) == [run]


def test_halves_of_a_run_that_goes_on_are_removed(tmp_path: Path) -> None:
    """What a kill has left half-written takes no room."""
    run = left(tmp_path, "r1", "running")
    half = run.path / "state.safetensors.part"
    half.write_text("")
    take_up([run])
    assert (half.exists(), run.data.exists()) == (False, True)


def test_what_succeeded_keeps_no_data_though_the_service_died_before_removing_it(tmp_path: Path) -> None:
    """It does not count among those that are kept, and a run that has not ended is left alone."""
    through = left(tmp_path, "r1", "running", "succeeded")
    failed = left(tmp_path, "r2", "failed")
    queued = left(tmp_path, "r3")
    make_room([through, failed, queued], keep=1)
    assert [run.data.exists() for run in (through, failed, queued)] == [False, True, True]
    make_room([through, failed, queued], keep=0)
    assert [run.data.exists() for run in (through, failed, queued)] == [False, False, True]
