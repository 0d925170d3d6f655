"""Collections that must not get worse, in the folder of a run."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from finetuner.errors import OptionError, SourceError
from finetuner.matches import MatchSet
from finetuner.training.run_folder import RunFolder
from finetuner.training.runs import Runs
from tests.two_classes import match_documents

DATA, ONE, TWO = (MatchSet.from_documents(match_documents(count)) for count in (10, 12, 14))


def run_in(folder: Path) -> RunFolder:
    """Return a new run."""
    return RunFolder.create(folder / "r1", {})


def test_guards_come_back_by_the_names_of_their_collections(tmp_path: Path) -> None:
    """In their order, also where a name would be another folder."""
    run = run_in(tmp_path)
    run.keep_data(DATA, {"..": ONE, "golden": TWO})
    found = run.guard_sets()
    assert list(found) == ["..", "golden"]
    assert [len(one) for one in found.values()] == [12, 14]
    assert np.array_equal(found["golden"].labels, TWO.labels)


def test_a_run_without_guards_has_none(tmp_path: Path) -> None:
    """Nothing of them is on disk."""
    run = run_in(tmp_path)
    run.keep_data(DATA)
    assert run.guard_sets() == {}
    assert not run.guards.exists()


def test_guards_are_there_before_the_data_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that has its data, and so may be taken up, has its guards."""
    run = run_in(tmp_path)
    there: list[bool] = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        if target == run.data:
            there.append(sorted(run.guard_sets()) == ["golden"])
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    run.keep_data(DATA, {"golden": ONE})
    assert there == [True]


def test_guards_that_cannot_be_saved_leave_no_data_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run would be judged without them otherwise."""
    run = run_in(tmp_path)
    save = MatchSet.save

    def broken(self: MatchSet, folder: Path) -> None:
        if self is ONE:
            raise OSError("No space left on device")
        save(self, folder)

    monkeypatch.setattr(MatchSet, "save", broken)
    with pytest.raises(OSError, match="No space"):
        run.keep_data(DATA, {"golden": ONE})
    assert sorted(path.name for path in run.path.iterdir()) == ["events.jsonl", "run.json"]


def test_guards_whose_run_has_no_data_are_half_written(tmp_path: Path) -> None:
    """A crash between the two leaves nothing behind for ever."""
    run = run_in(tmp_path)
    run.guards.mkdir()
    run.discard_halves()
    assert not run.guards.exists()
    run.keep_data(DATA, {"golden": ONE})
    run.discard_halves()
    assert list(run.guard_sets()) == ["golden"]


def test_guards_go_with_the_data(tmp_path: Path) -> None:
    """They are only there to go on from."""
    run = run_in(tmp_path)
    run.keep_data(DATA, {"golden": ONE})
    run.discard()
    assert run.guard_sets() == {}
    assert not run.guards.exists()


def test_a_guard_that_is_damaged_is_no_guard_less(tmp_path: Path) -> None:
    """It is an error: the run must not go on without it."""
    run = run_in(tmp_path)
    run.keep_data(DATA, {"golden": ONE})
    (run.guards / "0" / "matches.json").unlink()
    with pytest.raises(SourceError, match="no complete match set"):
        run.guard_sets()


def test_a_run_whose_guards_are_gone_does_not_go_on_without_them(tmp_path: Path) -> None:
    """Where a crash came while they were removed, the data may still be there, and /resume would take it up."""
    run = RunFolder.create(tmp_path / "r1", {"guards": ["golden", "silver"]})
    run.keep_data(DATA, {"golden": ONE})
    with pytest.raises(SourceError, match="guard 'silver' is gone, and without it a run must not go on"):
        run.guard_sets()
    shutil.rmtree(run.guards)
    with pytest.raises(SourceError, match="guard 'golden' is gone"):
        run.guard_sets()


def test_a_run_tells_what_exactly_its_guards_are(tmp_path: Path) -> None:
    """Beside what exactly it learns from; another with its name and other guards is refused."""
    runs = Runs(tmp_path, lambda run: {}, lambda run: {})
    try:
        task = {"guards": ["golden"]}
        run, _ = runs.create(task, "mine")
        runs.cancel("mine")
        runs.start(run, DATA, {"collection": "c"}, {"golden": (ONE, {"collection": "golden", "position": 3})})
        assert run.summary()["data"] == {
            "collection": "c",
            "guards": {"golden": {"collection": "golden", "position": 3}},
        }
        assert list(run.guard_sets()) == ["golden"]
        assert runs.create(task, "mine") == (run, False)
        for other in ({"guards": ["silver"]}, {}, {**task, "since": "active"}):
            with pytest.raises(OptionError, match="started with other options"):
                runs.create(other, "mine")
    finally:
        runs.close()
