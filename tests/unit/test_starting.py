"""How a run comes to its data: what is asked of the data Executor, and what becomes of its answers."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from executors.endpoints.starting import FitOptions, RunStarter
from finetuner.continual.since import Since
from finetuner.documents import Document, labelled
from finetuner.errors import OptionError
from finetuner.matches import MatchSet, MatchSetBuilder
from finetuner.training.run_folder import RunFolder

OPTIONS = FitOptions(collection="c", validation=0, holdout=0, replay=0, emit={"num_total": 9})
SINCE = Since(1, "v1", {"kind": "text", "position": 1}, "sum1")


class Starter(RunStarter):
    """One that pulls from a mapping: anchors by position, None for the newest; what is not there is an OptionError."""

    held: dict[int | None, list[str]]
    asked: list[dict[str, Any]]
    started: list[tuple[MatchSet, dict[str, Any], list[str]]]
    failed: list[str]

    def pulled(
        self, collection: str, emit: Mapping[str, Any], note: object = None
    ) -> tuple[MatchSetBuilder, dict[str, Any]]:
        """Return what a collection emits."""
        self.asked.append(dict(emit))
        position = emit.get("position")
        if position not in self.held:
            raise OptionError(f"collection {collection!r} has no position {position}")
        builder = MatchSetBuilder("text")
        for anchor in self.held[position]:
            builder.add(Document(text=anchor, matches=[Document(text="m", tags=labelled({}, 1))]))
        return builder, {"collection": collection, "checksum": f"sum{position or ''}"}


def starter(held: dict[int | None, list[str]]) -> Starter:
    """Return one without a server around it."""
    made = Starter.__new__(Starter)
    made.held, made.asked, made.started, made.failed = held, [], [], []
    tuning = SimpleNamespace(
        start_run=lambda run, matches, snapshot, guards: made.started.append(
            (matches, snapshot, list(guards))
        ),
        fail_run=lambda run, error: made.failed.append(f"{type(error).__name__}: {error}"),
    )
    made._service = SimpleNamespace(tuning=tuning)  # type: ignore[assignment]
    return made


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Return a run that waits for its data."""
    return RunFolder.create(tmp_path / "r1", {})


def learnt(made: Starter) -> list[str]:
    """Return the anchors of the one run that was started."""
    assert made.failed == []
    [(matches, _, _)] = made.started
    return list(matches.take(matches.anchors))


def test_what_a_version_learnt_from_is_emitted_again_with_its_own_parameters(run: RunFolder) -> None:
    """And then what holds now, with those of the new run."""
    made = starter({None: ["a", "b"], 1: ["a"]})
    made.pull_and_start(run, OPTIONS, SINCE)
    assert learnt(made) == ["b"]
    assert made.asked == [{"kind": "text", "position": 1}, {"num_total": 9}]


def test_a_bare_position_is_read_with_the_parameters_of_the_run(run: RunFolder) -> None:
    """So that both are parts of the collection that can be compared; position 0 is nothing, and not asked for."""
    made = starter({None: ["a", "b"], 1: ["a"]})
    made.pull_and_start(run, OPTIONS, Since(1))
    assert made.asked == [{"num_total": 9, "position": 1}, {"num_total": 9}]
    made = starter({None: ["a", "b"]})
    made.pull_and_start(run, OPTIONS, Since(0))
    assert (learnt(made), made.asked) == (["a", "b"], [{"num_total": 9}])


@pytest.mark.parametrize("held", [{None: ["a", "b"]}, {None: ["a", "b"], 1: ["other"]}])
def test_where_a_state_is_gone_a_run_fails_or_learns_all(
    run: RunFolder, held: dict[int | None, list[str]]
) -> None:
    """As its caller says: a person is told, a run that started by itself would fail for ever."""
    since = Since(1, "v1", {}, "sum before")
    made = starter(held)
    made.pull_and_start(run, OPTIONS, since)
    assert made.started == []
    assert made.failed[0].startswith("ChangedDataError: since: collection 'c' at position 1 is no longer")
    made = starter(held)
    made.pull_and_start(run, OPTIONS, since, or_all=True)
    assert learnt(made) == ["a", "b"]
    assert "since" not in made.started[0][1]


def test_a_position_that_there_never_was_is_told_as_it_is(run: RunFolder) -> None:
    """Nobody deleted anything."""
    made = starter({None: ["a"]})
    made.pull_and_start(run, OPTIONS, Since(7))
    assert made.failed == ["OptionError: collection 'c' has no position 7"]


def test_since_a_position_of_which_all_was_deleted_all_is_new(run: RunFolder) -> None:
    """Nothing is left to compare with."""
    made = starter({None: ["a"], 1: []})
    made.pull_and_start(run, OPTIONS, Since(1))
    assert learnt(made) == ["a"]


def test_a_fault_of_ours_fails_the_run_and_is_not_hidden(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that waits for ever would keep the next automatic one from starting."""
    made = starter({None: ["a"]})

    def broken(options: object) -> None:
        raise KeyError("position")

    monkeypatch.setattr(made, "pull", broken)
    with pytest.raises(KeyError):
        made.pull_and_start(run, OPTIONS, None)
    assert made.failed == ["KeyError: 'position'"]


def test_a_replay_of_nothing_is_refused() -> None:
    """Without since a run learns from all, so there is nothing to draw a sample of."""
    made = starter({})
    with pytest.raises(OptionError, match="/fit: replay goes with since"):
        made.check_pulled("/fit", FitOptions(collection="c", replay=0.5))


@pytest.mark.parametrize("promote", ["always", "never"])
@pytest.mark.parametrize("asked", ["min_gain", "guard_margin"])
def test_what_the_gate_does_not_look_at_is_refused(promote: str, asked: str) -> None:
    """Who is promoted in any case or never needs no gain, and may be as bad on guards as he is."""
    with pytest.raises(OptionError, match=f"/fit: {asked} goes with promote=if_better, not with {promote}"):
        FitOptions.parse({"promote": promote, asked: 0.5}, where="/fit")


def test_guards_come_as_they_hold_now(tmp_path: Path) -> None:
    """Whatever the run learns from, and with no parameters of it."""
    made = starter({None: ["a"]})
    run = RunFolder.create(tmp_path / "r2", {"guards": ["golden", "other"]})
    made.pull_and_start(run, OPTIONS, None, (made.pull(OPTIONS)[0], {"collection": None}))
    [(_, snapshot, guards)] = made.started
    assert (snapshot, guards) == ({"collection": None}, ["golden", "other"])
    assert made.asked[1:] == [{}, {}]
