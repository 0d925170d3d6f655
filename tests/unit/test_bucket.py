"""A registry in a bucket keeps to what one in a folder does; here the bucket is in memory."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from finetuner.errors import DamagedVersionError, RegistryError, ReplicaError, UnknownVersionError
from finetuner.lifecycle import DamagedVersion, Registry
from finetuner.lifecycle.bucket import BucketStore
from finetuner.lifecycle.objects import Objects
from tests.two_classes import SPEC, encoder, points


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return a prefix that no other test uses."""
    return f"memory://registries{tmp_path}"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Return a folder of weights."""
    encoder().save(tmp_path / "weights")
    return tmp_path / "weights"


@pytest.fixture
def registry(url: str, tmp_path: Path) -> Iterator[Registry]:
    """Return an empty registry, held by a process on this machine."""
    held = Registry(BucketStore(url, tmp_path / "here"))
    assert held.hold()
    yield held
    held.release()


@pytest.fixture
def there(url: str, tmp_path: Path) -> Registry:
    """Return the same registry on another machine."""
    return Registry(BucketStore(url, tmp_path / "there"))


def test_a_version_is_pulled_where_it_is_needed(registry: Registry, there: Registry, weights: Path) -> None:
    """What one machine registers and activates, another one finds, loads and embeds the same with."""
    version = registry.register(weights, SPEC, {"run": "r1"})
    registry.activate("v0")
    assert ([one.name for one in there.versions()], there.active) == (["v0"], "v0")
    assert not (there.folder / "v0").exists()
    assert np.array_equal(there.load("active", SPEC).embed(points(4)), encoder().embed(points(4)))
    assert (
        there.get("v0").about == version.about == json.loads((there.folder / "v0" / "model.json").read_text())
    )


def test_a_version_without_its_description_is_none(
    registry: Registry, url: str, weights: Path, there: Registry
) -> None:
    """``model.json`` comes last and goes first: what a crash has left is not listed, and swept by the next holder."""
    objects = Objects(url)
    registry.register(weights, SPEC, {})
    objects.put("versions/v1/model.safetensors", b"half")
    assert [one.name for one in there.versions()] == ["v0"]
    with pytest.raises(UnknownVersionError, match="'v1'; known are v0,"):
        there.get("v1")
    registry.release()
    assert there.hold()
    assert {name.split("/")[1] for name in objects.names("versions")} == {"v0"}
    there.release()


def test_a_version_is_never_written_over(registry: Registry, url: str, weights: Path) -> None:
    """Whoever was first has it, although both had looked before."""
    first = registry.register(weights, SPEC, {}).about
    made = registry.store.aside()
    (made / "card.md").parent.mkdir()
    (made / "model.json").write_text('{"files": {}}')
    with pytest.raises(RegistryError, match="there is a version v0 already"):
        registry.store.add("v0", made)
    assert json.loads(Objects(url).get("versions/v0/model.json") or b"") == first


def test_no_file_of_a_version_is_written_over(
    registry: Registry, there: Registry, url: str, weights: Path, tmp_path: Path
) -> None:
    """Weights of the first stay, files that only the second one has are taken away, and the first one still loads."""
    registry.register(weights, SPEC, {})
    made = registry.store.aside()
    made.mkdir()
    for name in ("another.txt", "model.safetensors"):
        (made / name).write_bytes(b"of the second")
    (made / "model.json").write_text('{"files": {"another.txt": "", "model.safetensors": ""}}')
    with pytest.raises(RegistryError, match="nothing of it was changed"):
        registry.store.add("v0", made)
    assert Objects(url).get("versions/v0/another.txt") is None
    assert np.array_equal(there.load("v0", SPEC).embed(points(4)), encoder().embed(points(4)))


def test_a_fault_while_taking_over_is_made_good_by_the_next_time(
    there: Registry, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who could not sweep does not hold; the next time sweeps."""
    Objects(url).put("versions/v7/half", b"")

    def fault(store: BucketStore) -> None:
        raise RegistryError("the network")

    with monkeypatch.context() as broken:
        broken.setattr(BucketStore, "sweep", fault)
        with pytest.raises(RegistryError, match="the network"):
            there.hold()
    assert not there.held
    assert there.hold()
    assert Objects(url).names("versions") == []
    there.release()


def test_copies_that_were_never_pulled_whole_are_swept_in_the_end(there: Registry) -> None:
    """One that may still be pulled stays, one that was begun two days ago does not."""
    young, old = there.store.aside(), there.store.aside()
    for half in (young, old):
        half.mkdir()
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    assert there.hold()
    assert (young.exists(), old.exists()) == (True, False)
    there.release()


@pytest.mark.parametrize("content", [b"", b"x" * 1000, None])
def test_a_version_that_is_damaged_in_the_bucket_is_refused(
    registry: Registry, there: Registry, url: str, weights: Path, content: bytes | None
) -> None:
    """A file that is cut, other or gone is named, and nothing of it stays on this machine."""
    registry.register(weights, SPEC, {})
    if content is None:
        Objects(url).delete(["versions/v0/model.safetensors"])
    else:
        Objects(url).put("versions/v0/model.safetensors", content)
    with pytest.raises(DamagedVersionError, match=r"versions/v0: not as registered: model\.safetensors"):
        there.load("v0", SPEC)
    assert list(there.folder.iterdir()) == []


def test_a_description_that_is_damaged_in_the_bucket_is_listed_as_such(
    registry: Registry, there: Registry, url: str, weights: Path
) -> None:
    """It hides no other version."""
    for _ in range(2):
        registry.register(weights, SPEC, {})
    Objects(url).put("versions/v0/model.json", b"{")
    damaged, whole = there.versions()
    assert isinstance(damaged, DamagedVersion)
    assert (damaged.name, whole.name) == ("v0", "v1")
    with pytest.raises(DamagedVersionError, match="not the description of a version"):
        there.load("v0", SPEC)


def test_a_description_that_names_files_elsewhere_is_refused(
    registry: Registry, there: Registry, url: str, weights: Path, tmp_path: Path
) -> None:
    """Who may write to the bucket cannot write outside the copies of versions by that."""
    about = registry.register(weights, SPEC, {}).about
    for file in ("../../stolen", f"{tmp_path}/stolen"):
        told = {**about, "files": {**about["files"], file: "0"}, "format": 0}
        Objects(url).put("versions/v0/model.json", json.dumps(told).encode())
        with pytest.raises(DamagedVersionError, match="names files outside its folder"):
            there.get("v0")
    assert not list(tmp_path.rglob("stolen"))


def test_a_copy_that_is_damaged_is_pulled_again(registry: Registry, there: Registry, weights: Path) -> None:
    """A fault of this machine's disk costs a download."""
    registry.register(weights, SPEC, {})
    there.get("v0")
    (there.folder / "v0" / "model.safetensors").write_bytes(b"")
    assert np.array_equal(there.load("base", SPEC).embed(points(4)), encoder().embed(points(4)))


def test_copies_of_versions_that_are_gone_are_dropped(
    registry: Registry, there: Registry, weights: Path
) -> None:
    """A machine that follows keeps no more than the registry does, and knows no version that was deleted."""
    for _ in range(3):
        registry.register(weights, SPEC, {})
    registry.activate("v0")
    there.get("v1")
    assert registry.retire(1) == ["v1"]
    with pytest.raises(UnknownVersionError, match="known are v0, v2"):
        there.get("v1")
    there.get("v2")
    assert [one.name for one in there.folder.iterdir()] == ["v2"]
    assert sorted(one.name for one in registry.folder.iterdir()) == ["v0", "v2"]


def test_copies_of_two_registries_are_not_mixed_up(registry: Registry, url: str, tmp_path: Path) -> None:
    """v0 of another bucket is another v0, also on the same machine."""
    other = Registry(BucketStore(url + "2", tmp_path / "here2"))
    for at, one in enumerate((registry, other)):
        encoder(at).save(tmp_path / f"w{at}")
        one.register(tmp_path / f"w{at}", SPEC, {})
    both = [Registry(BucketStore(place, tmp_path / "there")) for place in (url, url + "2")]
    for at, one in enumerate(both):
        assert np.array_equal(one.load("v0", SPEC).embed(points(4)), encoder(at).embed(points(4)))


def test_one_machine_at_a_time_changes_the_registry(
    registry: Registry, there: Registry, weights: Path
) -> None:
    """Another one is told who does, and may once that has let go."""
    with pytest.raises(ReplicaError, match=r"registry memory://.*: \S+:\d+ holds it"):
        there.register(weights, SPEC, {})
    assert list(there.folder.iterdir()) == []
    registry.release()
    after = Registry(BucketStore(there.store.where, there.folder))
    assert after.register(weights, SPEC, {}).name == "v0"


def test_the_log_of_a_bucket_is_in_its_order(registry: Registry, there: Registry, weights: Path) -> None:
    """An object each, read by everybody; one that is no entry is left out."""
    for name in ("v0", "v1"):
        registry.register(weights, SPEC, {})
        registry.activate(name, by="test")
    Objects(there.store.where).put("audit/0-torn.json", b"{")
    told = [(one["what"], one["version"]) for one in there.store.entries()]
    assert told == [("registered", "v0"), ("promoted", "v0"), ("registered", "v1"), ("promoted", "v1")]
