"""What serves: which versions stay loaded, and which of them a request can name."""

from pathlib import Path

import numpy as np
import pytest

from finetuner.errors import DamagedVersionError, NotWarmError, UnknownVersionError
from finetuner.lifecycle import Live, Registry
from finetuner.lifecycle.live import begin
from tests.two_classes import SPEC, encoder, points

POINTS = points(6)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Return a registry of v0, which is active, to v3."""
    registry = Registry(tmp_path / "registry")
    begin(registry, SPEC, seed=0)
    for seed in (1, 2, 3):
        encoder(seed).save(tmp_path / f"weights{seed}")
        registry.register(tmp_path / f"weights{seed}", SPEC, {})
    return registry


@pytest.fixture
def loads(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is loaded from now on, as a list that grows."""
    loaded: list[str] = []
    load = Registry.load

    def noted(self: Registry, name: str, *others: object) -> object:
        loaded.append(name)
        return load(self, name, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(Registry, "load", noted)
    return loaded


def live(registry: Registry, keep_warm: int = 2) -> Live:
    """Return what serves a registry."""
    return Live(registry, SPEC, batch_size=8, keep_warm=keep_warm)


def test_as_many_versions_as_were_asked_for_stay_loaded(registry: Registry) -> None:
    """The one that serves first; whichever has not served for the longest goes."""
    serving = live(registry)
    told = [serving.warm]
    for version in ("v1", "v2", "v1", "v3"):
        serving.promote(version, by="test")
        told.append(serving.warm)
    assert told == [["v0"], ["v1", "v0"], ["v2", "v1"], ["v1", "v2"], ["v3", "v1"]]


def test_a_version_that_serves_again_takes_one_place(registry: Registry) -> None:
    """Where there is room for three, two that take turns are two."""
    serving = live(registry, keep_warm=3)
    for version in ("v1", "v0"):
        serving.promote(version, by="test")
    assert serving.warm == ["v0", "v1"]


def test_one_version_alone_stays_loaded_where_that_was_asked_for(
    registry: Registry, loads: list[str]
) -> None:
    """Then the way back loads again."""
    serving = live(registry, keep_warm=1)
    serving.promote("v1", by="test")
    assert serving.warm == ["v1"]
    serving.rollback(by="test")
    assert loads == ["v0", "v1", "v0"]


def test_a_version_that_is_warm_serves_again_without_being_loaded(
    registry: Registry, loads: list[str]
) -> None:
    """By promotion, by rollback, and where another process has changed what is active."""
    serving = live(registry)
    serving.promote("v1", by="test")
    loads.clear()
    serving.promote("v0", by="test")
    serving.rollback(by="test")
    registry.activate("v0")
    serving.follow()
    assert (loads, serving.version) == ([], "v0")


def test_what_would_not_load_at_the_next_start_does_not_become_active(registry: Registry) -> None:
    """A file that is spoiled since a version was loaded keeps it from serving again; requests can still name it."""
    serving = live(registry)
    serving.promote("v1", by="test")
    (registry.folder / "v0" / "model.safetensors").write_bytes(b"spoiled")
    with pytest.raises(DamagedVersionError, match=r"not as registered: model\.safetensors"):
        serving.rollback(by="test")
    with pytest.raises(DamagedVersionError, match=r"not as registered: model\.safetensors"):
        serving.promote("v0", by="test")
    assert (registry.active, serving.warm) == ("v1", ["v1", "v0"])
    assert serving.embed(POINTS, "document", "v0")[1] == "v0"


def test_a_request_can_name_a_version_that_is_warm(registry: Registry) -> None:
    """It is answered by that one alone; active is the one that serves."""
    serving = live(registry)
    serving.promote("v1", by="test")
    expected = {"v0": encoder(0).embed(POINTS), "v1": encoder(1).embed(POINTS)}
    for asked, made_by in (("v0", "v0"), ("base", "v0"), ("v1", "v1"), ("active", "v1"), (None, "v1")):
        embeddings, told = serving.embed(POINTS, "document", asked)
        assert told == made_by
        assert np.array_equal(embeddings, expected[made_by])


@pytest.mark.parametrize("asked", ["v0", "base", "v9", ""])
def test_a_version_that_is_not_loaded_is_refused(registry: Registry, asked: str) -> None:
    """The error says which are, the one that serves first."""
    serving = live(registry)
    serving.promote("v1", by="test")
    serving.promote("v2", by="test")
    with pytest.raises(NotWarmError, match="loaded are v2, which serves, and v1;"):
        serving.embed(POINTS, "document", asked)


def test_versions_that_were_deleted_are_let_go(registry: Registry) -> None:
    """The one that serves stays; and what is gone cannot be promoted, warm or not."""
    serving = live(registry, keep_warm=3)
    for version in ("v1", "v2"):
        serving.promote(version, by="test")
    registry.store.remove("v1")
    with pytest.raises(UnknownVersionError):
        serving.promote("v1", by="test")
    serving.drop_deleted()
    assert serving.warm == ["v2", "v0"]


def test_a_replica_lets_go_of_what_another_process_has_deleted(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks from time to time, though the pointer has not changed."""
    serving = live(registry)
    serving.promote("v1", by="test")
    serving.rollback(by="test")
    registry.store.remove("v1")
    serving.follow()
    assert serving.warm == ["v0", "v1"]
    monkeypatch.setattr(serving, "_tidy_at", 0.0)
    serving.follow()
    assert serving.warm == ["v0"]


@pytest.mark.parametrize(
    "error", [MemoryError("no memory"), RuntimeError("can't allocate memory: no memory")]
)
def test_where_memory_is_short_what_serves_goes_on_and_the_other_is_tried_again(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Nothing is raised, which would end the watch; the version says why it does not serve, until it does."""

    def fail(*_: object) -> None:
        raise error

    serving = live(registry)
    registry.activate("v1")
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "load", fail)
        serving.follow()
    assert (serving.version, serving.models()[1]["refused"]) == ("v0", str(error))
    monkeypatch.setattr(serving, "_retry_at", 0.0)
    serving.follow()
    assert (serving.version, "refused" in serving.models()[1]) == ("v1", False)


def test_models_tell_which_versions_are_warm(registry: Registry) -> None:
    """Of four versions the two that served last."""
    serving = live(registry)
    serving.promote("v2", by="test")
    assert [one["warm"] for one in serving.models()] == [True, False, True, False]


def test_only_requests_that_name_no_version_are_heard_of(registry: Registry) -> None:
    """With what they were answered; others say nothing about what serves."""
    serving = live(registry)
    heard: list[tuple[int, str, str]] = []
    serving.heard = lambda contents, side, made, version: heard.append((len(made), side, version))
    for asked in (None, "v0", "active"):
        serving.embed(POINTS, "query", asked)
    assert heard == [(6, "query", "v0")] * 2
