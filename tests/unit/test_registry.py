"""The registry: versions that are whole or not there, checked when loaded, and one that is active."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import finetuner
from finetuner.errors import DamagedVersionError, EncoderError, ReplicaError, UnknownVersionError
from finetuner.lifecycle import DamagedVersion, Registry, Version, open_registry
from finetuner.models import EncoderSpec, build_encoder
from tests.two_classes import SPEC, encoder, points

OWN = EncoderSpec("tests.two_classes:scaled", {"sign": -1})


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Return a folder of weights."""
    encoder().save(tmp_path / "weights")
    return tmp_path / "weights"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Return an empty registry."""
    return Registry(tmp_path / "root")


def test_a_version_is_numbered_described_and_sealed(registry: Registry, weights: Path) -> None:
    """Versions count from v0; ``model.json`` tells what they are and the hash of every other file."""
    registry.register(weights, SPEC, {"parent": None})
    version = registry.register(weights, SPEC, {"parent": "v0", "run": "r1"})
    assert [one.name for one in registry.versions()] == ["v0", "v1"]
    about = json.loads((version.folder / "model.json").read_text())
    assert about == registry.get("v1").about == version.about
    assert (about["version"], about["parent"], about["run"]) == ("v1", "v0", "r1")
    assert (about["encoder"], about["library"]) == (SPEC.as_dict(), finetuner.__version__)
    files = {file.name for file in version.folder.iterdir()}
    assert files == {"model.safetensors", "card.md", "model.json"} == {*about["files"], "model.json"}


def test_versions_are_listed_by_number(registry: Registry, weights: Path) -> None:
    """v10 comes after v9, and the next one is v11."""
    for _ in range(11):
        registry.register(weights, SPEC, {})
    assert [version.name for version in registry.versions()] == [f"v{at}" for at in range(11)]
    assert registry.register(weights, SPEC, {}).name == "v11"


def test_a_version_is_a_copy(registry: Registry, weights: Path) -> None:
    """What becomes of the folder it was registered from does not touch it; it embeds as what was saved."""
    registry.register(weights, SPEC, {})
    shutil.rmtree(weights)
    loaded = registry.get("v0").load(SPEC)
    assert np.array_equal(loaded.embed(points(5)), encoder().embed(points(5)))


def test_the_card_shows_the_evaluation(registry: Registry, weights: Path) -> None:
    """For people: base, active and candidate side by side, on how many anchors."""
    metrics = {"v0": {"map": 0.5, "mrr": 0.25}, "candidate": {"map": 0.75, "mrr": 1.0}}
    about = {"parent": "v0", "run": "r1", "evaluation": {"anchors": 12, "metrics": metrics}}
    card = (registry.register(weights, SPEC, about).folder / "card.md").read_text()
    assert "On 12 held-out anchors:" in card
    assert "| metric | v0 | candidate |\n|---|---|---|\n| map | 0.5000 | 0.7500 |\n" in card


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (
            {"collection": "shop", "position": 17, "checksum": "ab", "parameters": {"kind": "text"}},
            '- match data: collection `shop` at position 17 with {"kind": "text"}, checksum ab\n',
        ),
        (
            {"collection": "covid_qa", "position": 0, "checksum": "ab", "parameters": {"num_neg": 3}},
            '- match data: collection `covid_qa` with {"num_neg": 3}, checksum ab\n',
        ),
        (
            {"collection": None, "checksum": "ab"},
            "- match data: documents that came with the request, checksum ab\n",
        ),
    ],
)
def test_the_card_names_the_match_data(
    registry: Registry, weights: Path, data: dict[str, object], line: str
) -> None:
    """Whoever finds a version can have its exact data emitted again."""
    assert line in (registry.register(weights, SPEC, {"data": data}).folder / "card.md").read_text()


@pytest.mark.parametrize("name", ["v1", "v", "../root/versions/v0", "", "model.json", "active"])
def test_an_unknown_version_is_named_with_those_that_are_known(
    registry: Registry, weights: Path, name: str
) -> None:
    """A path is never followed, and before the first activation nothing is active."""
    registry.register(weights, SPEC, {})
    with pytest.raises(UnknownVersionError, match="known are v0, and active and base"):
        registry.get(name)


# damage


def change(folder: Path) -> None:
    """Change one byte of the weights."""
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        (change, "model.safetensors"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
        (lambda folder: (folder / "extra.bin").write_bytes(b""), "extra.bin"),
        (lambda folder: (folder / "card.md").write_text("the best"), "card.md"),
    ],
)
def test_a_version_that_is_not_as_registered_is_refused(
    registry: Registry, weights: Path, damage: Callable[[Path], None], file: str
) -> None:
    """One byte more, less or other in any file is found when it is loaded, and the file is named."""
    folder = registry.register(weights, SPEC, {}).folder
    damage(folder)
    with pytest.raises(DamagedVersionError, match=f"not as registered: {file}"):
        registry.get("v0").load(SPEC)


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"version": "v0", "files": {}}'])
def test_a_version_without_a_description_is_refused(
    registry: Registry, weights: Path, content: str | None
) -> None:
    """A ``model.json`` that is gone, torn or lacks something is reported as that file."""
    about = registry.register(weights, SPEC, {}).folder / "model.json"
    about.unlink()
    if content is not None:
        about.write_text(content)
    with pytest.raises(DamagedVersionError, match=r"model\.json: not the description of a version"):
        registry.get("v0")


def test_a_damaged_version_does_not_keep_others_from_being_registered(
    registry: Registry, weights: Path
) -> None:
    """Its number stays taken, and the next one is whole."""
    registry.register(weights, SPEC, {})
    (registry.register(weights, SPEC, {}).folder / "model.json").write_text("{")
    assert registry.register(weights, SPEC, {}).name == "v2"
    registry.get("v2").load(SPEC)


def test_a_version_of_another_encoder_is_refused(registry: Registry, weights: Path) -> None:
    """Who starts with another encoder, or other options of it, is told both; no foreign code is run."""
    registry.register(weights, SPEC, {})
    for other in (EncoderSpec("cnn"), EncoderSpec("mlp", {**SPEC.options, "dim": 5})):
        with pytest.raises(DamagedVersionError, match=r"made with encoder .*; start with that encoder"):
            registry.get("v0").load(other)


def test_what_a_crash_left_is_swept_away(tmp_path: Path, registry: Registry, weights: Path) -> None:
    """What was half-written or half-deleted is never listed, and gone once a process holds the registry."""
    registry.register(weights, SPEC, {})
    for name in (".abc.part", ".v9.abc.gone"):
        half = tmp_path / "root" / "versions" / name
        half.mkdir()
        (half / "model.json").write_text("{}")
    assert [version.name for version in registry.versions()] == ["v0"]
    assert Registry(tmp_path / "root").hold()
    assert [one.name for one in (tmp_path / "root" / "versions").iterdir()] == ["v0"]


def test_a_process_that_looks_sweeps_nothing_away(registry: Registry, tmp_path: Path) -> None:
    """While one registers, others open the registry: what is being written is none of their business."""
    half = tmp_path / "root" / "versions" / ".abc.part"
    half.mkdir()
    assert registry.hold()
    half.mkdir()
    other = Registry(tmp_path / "root")
    assert not other.hold()
    assert (other.versions(), half.exists()) == ([], True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_kill_at_any_step_leaves_no_half_version(tmp_path: Path, weights: Path) -> None:
    """Killed at any operation of registering and activating that changes files, what is listed is whole and loads."""
    root = tmp_path / "root"
    Registry(root).activate(Registry(root).register(weights, SPEC, {}).name)
    found, step = [], 0
    while not _killed_at(step, root, weights):
        registry = Registry(root)
        versions = [one for one in registry.versions() if isinstance(one, Version)]
        found.append((len(versions), registry.active))
        for version in versions:
            assert version.load(SPEC).spec == SPEC
        assert registry.active in {version.name for version in versions}
        for version in versions[1:]:
            shutil.rmtree(version.folder)
        registry.activate("v0")
        step += 1
    assert found[0] == (1, "v0")
    assert (2, "v0") in found
    assert len(found) > 5


def _killed_at(step: int, root: Path, weights: Path) -> bool:
    """Register and activate in a child that is killed at a file operation; return whether it was through before."""
    child = os.fork()
    if child == 0:
        try:
            registry = Registry(root)
            left = step

            def kill(event: str, given: Sequence[Any]) -> None:
                nonlocal left
                changes = ("os.mkdir", "os.rename", "shutil.copytree", "shutil.copystat")
                if event in changes or (event == "open" and given[2] & (os.O_WRONLY | os.O_RDWR)):
                    left -= 1
                    if left < 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(kill)
            registry.activate(registry.register(weights, SPEC, {}).name)
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return not os.WIFSIGNALED(status)


# which one is active


def test_base_and_active_are_names(tmp_path: Path, registry: Registry, weights: Path) -> None:
    """``base`` is the first version; ``active`` is what was activated last, also for the next process."""
    for _ in range(3):
        registry.register(weights, SPEC, {})
    registry.activate("v2")
    assert (registry.get("base").name, registry.get("active").name) == ("v0", "v2")
    assert Registry(tmp_path / "root").active == "v2"


def test_rolling_back_goes_step_by_step_to_the_first(registry: Registry) -> None:
    """Each step forgets the version that was active, until nothing is left before the first one."""
    for name in ("v0", "v3", "v1", "v3"):
        registry.activate(name)
    for name in ("v1", "v3", "v0"):
        assert registry.previous() == name
        registry.step_back()
        assert registry.active == name
    with pytest.raises(UnknownVersionError, match="nothing to roll back to"):
        registry.previous()


def test_a_new_activation_after_a_step_back_goes_on_from_there(registry: Registry) -> None:
    """What was rolled back is not what the next one rolls back to."""
    for name in ("v0", "v1"):
        registry.activate(name)
    registry.step_back()
    registry.activate("v2")
    assert registry.previous() == "v0"


def test_a_torn_pointer_is_never_read(tmp_path: Path, registry: Registry) -> None:
    """The new pointer is written aside: what a crash left of it changes nothing."""
    registry.activate("v0")
    (tmp_path / "root" / "active.part").write_text('{"vers')
    assert registry.active == "v0"
    registry.activate("v1")
    told = json.loads((tmp_path / "root" / "active.json").read_text())
    assert (told["version"], told["before"], told["kept"]) == ("v1", ["v0"], [])
    assert not (tmp_path / "root" / "active.part").exists()


# loading without a registry


def test_a_versions_folder_can_be_loaded_anywhere(tmp_path: Path, registry: Registry, weights: Path) -> None:
    """A copy of the folder is enough for ``finetuner.load``, by path or string."""
    shutil.copytree(registry.register(weights, SPEC, {}).folder, tmp_path / "copy")
    expected = encoder().embed(points(4))
    for folder in (tmp_path / "copy", str(tmp_path / "copy")):
        assert np.array_equal(finetuner.load(folder).embed(points(4)), expected)
    assert finetuner.load(tmp_path / "copy", encoder="mlp").spec == SPEC


def test_code_that_a_folder_names_is_not_run_unless_the_caller_names_it(
    tmp_path: Path, registry: Registry
) -> None:
    """A factory of one's own has to be given; another one than the version's is refused, too."""
    build_encoder(OWN).save(tmp_path / "own")
    folder = registry.register(tmp_path / "own", OWN, {}).folder
    for given in (None, "mlp", "tests.two_classes:points"):
        with pytest.raises(EncoderError, match=r"was made with encoder='tests\.two_classes:scaled'; got"):
            finetuner.load(folder, encoder=given)
    assert finetuner.load(folder, encoder=OWN.name).embed(points(1))[0] @ points(1)[0] < 0


def test_a_damaged_folder_is_not_loaded(registry: Registry, weights: Path, tmp_path: Path) -> None:
    """The same check holds without a registry; a folder that is none is one, too."""
    version = registry.register(weights, SPEC, {})
    change(version.folder)
    with pytest.raises(DamagedVersionError, match="not as registered"):
        finetuner.load(version.folder)
    with pytest.raises(DamagedVersionError, match="not the description of a version"):
        Version.read(tmp_path / "nowhere")


def test_a_damaged_version_is_listed_as_such(tmp_path: Path, weights: Path) -> None:
    """One description that cannot be read hides none of the others."""
    registry = Registry(tmp_path / "root")
    for _ in range(2):
        registry.register(weights, SPEC, {})
    (tmp_path / "root" / "versions" / "v0" / "model.json").write_text("{")
    damaged, whole = registry.versions()
    assert isinstance(damaged, DamagedVersion)
    assert (damaged.name, whole.name) == ("v0", "v1")


# who changes it, for how long a version is kept, and what is written down


def test_one_process_at_a_time_changes_a_registry(tmp_path: Path, registry: Registry, weights: Path) -> None:
    """While one holds it, another one reads, and is told whom to ask; what it does alone it does without a word."""
    registry.activate(registry.register(weights, SPEC, {}).name)
    other = Registry(tmp_path / "root")
    assert registry.hold()
    assert other.get("active").name == "v0"
    for change in (
        lambda: other.register(weights, SPEC, {}),
        lambda: other.activate("v0"),
        other.step_back,
        lambda: other.keep("v0", True),
        lambda: other.retire(1),
    ):
        with pytest.raises(ReplicaError, match=rf"{registry.holder} holds it"):
            change()
    assert registry.register(weights, SPEC, {}).name == "v1"
    registry.release()
    assert other.register(weights, SPEC, {}).name == "v2"


def test_old_versions_are_deleted(registry: Registry, weights: Path) -> None:
    """All but the last two, the base, the active one, the two before it, and those that somebody keeps or needs."""
    for _ in range(12):
        registry.register(weights, SPEC, {})
    for name in ("v1", "v2", "v3", "v4"):
        registry.activate(name)
    registry.keep("v5", True)
    registry.keep("v6", True)
    registry.keep("v6", False)
    assert registry.retire(2, {"v8"}) == ["v1", "v6", "v7", "v9"]
    left = ["v0", "v2", "v3", "v4", "v5", "v8", "v10", "v11"]
    assert [one.name for one in registry.versions()] == left
    assert registry.kept == ("v5",)
    assert registry.retire(2, {"v8"}) == []
    for name in ("v3", "v2"):
        registry.step_back()
        assert registry.active == name
    with pytest.raises(UnknownVersionError, match="nothing to roll back to"):
        registry.previous()
    with pytest.raises(UnknownVersionError, match="no version 'v1'"):
        registry.keep("v1", True)
    assert registry.register(weights, SPEC, {}).name == "v12"


def test_what_was_changed_is_written_down(registry: Registry, weights: Path) -> None:
    """A line each, with who wanted it; what changes nothing leaves none."""
    for name in ("v0", "v1"):
        registry.register(weights, SPEC, {"run": "r1"}, by="a test")
        registry.activate(name, by="Ada", why="it is better")
    registry.step_back(by="Bob")
    registry.keep("v1", True, by="Bob")
    registry.keep("v1", True, by="Bob")
    registry.keep("v1", False, by="Bob")
    registry.register(weights, SPEC, {})
    registry.retire(1)
    told = [(one["what"], one["version"], one.get("by")) for one in registry.store.entries()]
    assert told == [
        ("registered", "v0", "a test"),
        ("promoted", "v0", "Ada"),
        ("registered", "v1", "a test"),
        ("promoted", "v1", "Ada"),
        ("rolled back", "v0", "Bob"),
        ("kept", "v1", "Bob"),
        ("no longer kept", "v1", "Bob"),
        ("registered", "v2", None),
        ("deleted", "v1", None),
    ]
    assert registry.store.entries()[3]["why"] == "it is better"


def test_what_a_crash_kept_from_being_written_down_is_written_by_the_next_holder(
    tmp_path: Path, registry: Registry, weights: Path
) -> None:
    """Once; a line that was torn is left out, and tears no other."""
    for _ in range(2):
        registry.activate(registry.register(weights, SPEC, {}).name, by="Ada")
    log = tmp_path / "root" / "audit.jsonl"
    lines = log.read_text().splitlines()
    log.write_text("\n".join(lines[:2]) + "\n" + lines[2][:20])
    for _ in range(2):
        other = Registry(tmp_path / "root")
        assert other.hold()
        other.release()
    told = [(one["what"], one["version"], one.get("by")) for one in registry.store.entries()]
    assert told[2:] == [("promoted", "v1", "Ada"), ("registered", "v1", None)]


def test_a_registry_may_be_elsewhere_than_the_runs(tmp_path: Path, weights: Path) -> None:
    """Who holds it holds the folder of its runs, too; a URL of a file is a folder."""
    shared, home = tmp_path / "shared", tmp_path / "home"
    registry = open_registry(str(shared), home)
    assert registry.hold()
    assert registry.register(weights, SPEC, {}).folder == shared / "versions" / "v0"
    assert not open_registry(f"file://{shared}", tmp_path / "other").hold()
    assert not open_registry(None, home).hold()
    registry.release()
    assert open_registry(f"file://{shared}", tmp_path / "other").hold()
