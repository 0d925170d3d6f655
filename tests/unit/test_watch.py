"""What a service does about its registry by itself, and how it bears a registry that is out of reach."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from finetuner.errors import RegistryError, ReplicaError
from finetuner.lifecycle import Live, Registry
from finetuner.lifecycle.folder import FolderStore
from finetuner.lifecycle.live import begin
from finetuner.lifecycle.watch import Watch
from tests.two_classes import SPEC, encoder
from tests.waiting import until


class Watched:
    """A registry that is watched, and what was called."""

    def __init__(self, root: Path) -> None:
        self.registry = Registry(root)
        begin(self.registry, SPEC, seed=0, wait_seconds=0)
        self.live = Live(self.registry, SPEC, batch_size=8)
        self.calls: list[str] = []
        self.watch = Watch(
            self.registry,
            self.live,
            take_over=lambda: self.calls.append("take over"),
            step_down=lambda: self.calls.append("step down"),
            tidy=self.tidy,
        )
        self.watch.start()

    def tidy(self) -> None:
        """Fail at first."""
        self.calls.append("tidy")
        if self.calls.count("tidy") < 2:
            raise OSError("in use")

    def close(self) -> None:
        """End the watch."""
        self.watch.close()
        self.registry.release()


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """Return one that looks often."""
    monkeypatch.setattr(FolderStore, "poll_seconds", 0.005)
    monkeypatch.setattr(Watch, "RETRY_SECONDS", 0.01)
    watched = Watched(tmp_path)
    yield watched
    watched.close()


@pytest.mark.parametrize("error", [RegistryError("out of reach"), KeyError("of a network of somebody's")])
def test_a_look_that_fails_is_told_and_looked_at_again(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Whatever the fault: what served goes on meanwhile."""

    def fail(_: object) -> object:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "stamp", fail)
        until(lambda: watched.watch.trouble == str(error))
        assert watched.live.version == "v0"
    until(lambda: not watched.watch.trouble)


def test_who_has_lost_the_registry_steps_down_and_takes_over_again(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once each, as soon as it is free."""
    assert watched.calls == ["take over"]
    assert watched.registry._hold is not None
    monkeypatch.setattr(watched.registry._hold, "lost", True, raising=False)
    until(lambda: watched.calls == ["take over", "step down", "take over"])


def test_what_is_to_be_tidied_is_tried_until_it_is(watched: Watched) -> None:
    """A fault is told until then."""
    watched.watch.tidy_soon()
    until(lambda: watched.calls.count("tidy") == 2 and not watched.watch.trouble)
    until(lambda: not watched.watch._untidy.is_set())
    assert watched.calls.count("tidy") == 2


def test_a_follower_waits_for_the_first_base_but_not_for_ever(tmp_path: Path) -> None:
    """If the process that holds the registry makes none, that is said."""
    held = Registry(tmp_path)
    assert held.hold()
    with pytest.raises(ReplicaError, match=f"{held.holder} holds it, and no version is active after 0 s"):
        begin(Registry(tmp_path), SPEC, seed=0, wait_seconds=0)
    encoder().save(tmp_path / "weights")
    held.activate(held.register(tmp_path / "weights", SPEC, {}).name)
    begin(Registry(tmp_path), SPEC, seed=0, wait_seconds=0)
    held.release()
