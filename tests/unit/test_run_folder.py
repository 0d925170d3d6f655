"""The folder of a run: its states and events on disk, and what it keeps to go on from."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from finetuner.errors import SourceError
from finetuner.matches import MatchSet
from finetuner.training.run_folder import FINAL, LEADS_TO, MAY_COME, RunFolder
from tests.two_classes import match_documents

DATA = MatchSet.from_documents(match_documents(10))


def names(run: RunFolder) -> list[str]:
    """Return the names of a run's events."""
    return [event["event"] for event in run.events()]


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


def test_a_run_without_events_has_failed(tmp_path: Path) -> None:
    """What a crash left empty, or a person deleted, neither stops a start nor looks as if it trained."""
    run = RunFolder.create(tmp_path / "r1", {})
    (run.path / "events.jsonl").write_bytes(b"")
    assert run.state() == "failed"
    (run.path / "events.jsonl").unlink()
    assert (run.state(), run.summary()) == ("failed", {"run": "r1", "state": "failed"})


def test_events_are_read_on_from_a_position(tmp_path: Path) -> None:
    """A watcher sees each event once, and a line that is still being written only when it is whole."""
    run = RunFolder.create(tmp_path / "r1", {})
    first, position = run.events_after(0)
    with (run.path / "events.jsonl").open("ab") as file:
        file.write(b'{"event": "epo')
    assert ([one["event"] for one in first], run.events_after(position)) == (["queued"], ([], position))
    with (run.path / "events.jsonl").open("ab") as file:
        file.write(b'ch"}\n')
    assert run.events_after(position)[0] == [{"event": "epoch"}]


@pytest.mark.parametrize(
    ("events", "state"),
    [
        (["running", "succeeded"], "succeeded"),
        (["running", "resumed", "resumed", "failed"], "failed"),
        (["cancelled", "running"], "cancelled"),
        (["running", "failed", "queued", "resumed", "cancelled"], "cancelled"),
        (["running", "succeeded", "queued", "failed", "cancelled"], "succeeded"),
        (["succeeded"], "queued"),
        (["running", "queued", "running"], "running"),
    ],
)
def test_a_run_moves_only_along_the_drawn_ways(tmp_path: Path, events: list[str], state: str) -> None:
    """An event that may not come in the present state is not written; no way leads out of success."""
    run = RunFolder.create(tmp_path / "r1", {})
    moved = [event for event in events if run.move(event, {})]
    assert (run.state(), names(run)) == (state, ["queued", *moved])


def test_every_event_that_names_a_state_may_come_somewhere() -> None:
    """The two tables are of the same events, and only /resume leads out of a final state."""
    assert MAY_COME.keys() == LEADS_TO.keys()
    assert {event for event, states in MAY_COME.items() if states & FINAL} == {"queued"}


def test_the_summary_of_a_resumed_run_does_not_tell_how_it_had_failed(tmp_path: Path) -> None:
    """Reason, error and end of the earlier attempt are history; what was reported of the training still holds."""
    run = RunFolder.create(tmp_path / "r1", {})
    run.report("running", {"parent_version": "v0"})
    run.report("epoch", {"epoch": 1})
    run.report("error", {"type": "OSError", "message": "full"})
    run.report("failed", {"reason": "the disk is full"})
    assert (run.summary()["reason"], run.summary()["error"]["type"]) == ("the disk is full", "OSError")
    run.report("queued", {})
    assert sorted(run.summary()) == ["epoch", "parent_version", "queued", "run", "running", "state"]


def test_an_event_that_is_written_in_part_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up may take the beginning of a line; nobody must believe it was told, and the next one is whole."""
    run = RunFolder.create(tmp_path / "r1", {})
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: write(handle, data[:9]))
        with pytest.raises(OSError, match="No space left") as caught:
            run.report("running", {})
    assert (caught.value.errno, run.state()) == (errno.ENOSPC, "queued")
    run.report("failed", {})
    assert names(run) == ["queued", "failed"]


def test_data_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What breaks off leaves no folder that looks like data, and no room taken."""
    run = RunFolder.create(tmp_path / "r1", {})

    def broken(self: MatchSet, folder: Path) -> None:
        folder.mkdir()
        (folder / "contents.npy").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(MatchSet, "save", broken)
        with pytest.raises(OSError, match="No space"):
            run.keep_data(DATA)
    assert sorted(path.name for path in run.path.iterdir()) == ["events.jsonl", "run.json"]
    run.keep_data(DATA)
    assert np.array_equal(MatchSet.load(run.data).labels, DATA.labels)


def test_what_is_discarded_is_what_only_training_needs(tmp_path: Path) -> None:
    """Task, events, log and picture tell of the run for ever."""
    run = RunFolder.create(tmp_path / "r1", {})
    run.keep_data(DATA)
    for folder in (run.candidate, run.features, run.path / "half.part"):
        folder.mkdir()
    for name in ("state.safetensors", "state.safetensors.part", "log.txt", "curves.svg"):
        (run.path / name).write_text("")
    run.discard()
    assert sorted(path.name for path in run.path.iterdir()) == [
        "curves.svg",
        "events.jsonl",
        "log.txt",
        "run.json",
    ]
