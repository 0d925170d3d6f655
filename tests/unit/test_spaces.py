"""Answers in the space of another version: by which map, how often it is read, and what is refused."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from docarray import DocList

from executors.documents import ContentDocument, embedded
from executors.endpoints.encoding import EncodingEndpoints
from finetuner.compatibility import Map, Stamped, read_spaces
from finetuner.compatibility.kept import write_map, write_spaces
from finetuner.errors import DamagedVersionError, UnknownSpaceError, UnknownVersionError
from finetuner.lifecycle import Registry
from finetuner.models import Embeddings
from finetuner.service import TuningService
from finetuner.service.spaces import VersionSpaces
from tests.two_classes import SPEC, encoder

TURNED = np.roll(np.eye(4, dtype=np.float32), 1, axis=1)
MADE = np.eye(3, 4, dtype=np.float32)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Return a registry in which v2 has a map to v0, makes the documents of v1, and knows no way to v3."""
    registry = Registry(tmp_path / "registry")
    for name in ("v0", "v1", "v2", "v3"):
        weights = tmp_path / name
        encoder().save(weights)
        if name == "v2":
            write_map(weights, "v0", Map("rotation", "candidate", "v0", TURNED))
            write_spaces(
                weights,
                {
                    "v0": {"same_documents": False, "kind": "rotation"},
                    "v1": {"same_documents": True},
                    "v3": {"same_documents": False, "reason": "too few"},
                },
            )
        registry.register(weights, SPEC, {})
    return registry


@pytest.mark.parametrize("space", ["v0", "base"])
def test_a_map_leads_into_the_space_of_another_version(registry: Registry, space: str) -> None:
    """It is the one that came with the version that made the embeddings, and the answer says in whose space it is."""
    answer = VersionSpaces(registry).answer(Stamped("v2", MADE), space)
    np.testing.assert_array_equal(answer.of("v0", where="test"), MADE @ TURNED)


@pytest.mark.parametrize("space", ["v1", "v2"])
def test_the_same_documents_are_asked_with_what_there_is(registry: Registry, space: str) -> None:
    """In its own space, and where documents are the same, nothing is mapped."""
    answer = VersionSpaces(registry).answer(Stamped("v2", MADE), space)
    np.testing.assert_array_equal(answer.of(space, where="test"), MADE)


def test_where_no_map_leads_the_error_lists_where_one_does(registry: Registry) -> None:
    """A space without a map, one of a version that is not there, and any from a version that came without maps."""
    spaces = VersionSpaces(registry)
    for space in ("v3", "v9"):
        with pytest.raises(UnknownSpaceError, match=rf"{space}.* can in its own, and in those of v0, v1; "):
            spaces.answer(Stamped("v2", MADE), space)
    with pytest.raises(UnknownSpaceError, match="in its own, and in no other"):
        spaces.answer(Stamped("v1", MADE), "v0")


def test_a_version_with_maps_is_a_version(registry: Registry) -> None:
    """Its maps are sealed with it, and it loads as any other."""
    assert "maps/v0/map.safetensors" in registry.get("v2").about["files"]
    registry.load("v2", SPEC)


def test_maps_are_read_once(registry: Registry) -> None:
    """What becomes of the files later is not looked at, as with the weights of what serves."""
    spaces = VersionSpaces(registry)
    spaces.answer(Stamped("v2", MADE), "v0")
    (registry.folder / "v2" / "maps" / "v0" / "map.safetensors").unlink()
    spaces.answer(Stamped("v2", MADE), "v0")


def test_a_changed_map_is_refused(registry: Registry) -> None:
    """One number that is another one, in a file that could be read, is noticed by its hash."""
    folder = registry.folder / "v2"
    write_map(folder, "v0", Map("rotation", "candidate", "v0", TURNED * 0.5))
    assert read_spaces(folder, "v2")["v0"] is not None
    with pytest.raises(DamagedVersionError, match=r"not as registered: v0/map\.safetensors"):
        VersionSpaces(registry).answer(Stamped("v2", MADE), "v0")


def test_the_maps_of_a_version_that_is_gone_are_gone(registry: Registry) -> None:
    """Nothing is guessed for a version that the registry does not know."""
    with pytest.raises(UnknownVersionError):
        VersionSpaces(registry).between("v9", "v0")


def test_no_forward_pass_waits_for_maps_that_are_read() -> None:
    """The registry may be out of reach, and then /encode without a space goes on."""
    threads = []

    def answer(made: Stamped, space: str) -> Stamped:
        threads.append(threading.current_thread().name)
        return Stamped(space, made.vectors)

    def encode(*_: object) -> tuple[Embeddings, str]:
        threads.append(threading.current_thread().name)
        return MADE, "v2"

    executor = EncodingEndpoints()
    executor._service = cast(
        TuningService,
        SimpleNamespace(encoding=SimpleNamespace(encode=encode), spaces=SimpleNamespace(answer=answer)),
    )
    documents = DocList[ContentDocument](ContentDocument(text="x") for _ in MADE)
    with ThreadPoolExecutor(1, thread_name_prefix="forward") as executor._forward:
        [first, *_] = asyncio.run(executor.encode(documents, {"space": "v0"}))
    assert first.tags["finetuner"] == {"model": "v2", "space": "v0"}
    assert [name.startswith("forward") for name in threads] == [True, False]


def test_a_stamp_tells_of_another_space_and_of_none_of_before() -> None:
    """Beside who made an embedding, in whose space it is if not in its own; an older stamp goes, other tags stay."""
    document = ContentDocument(id="a", tags={"a": 1, "finetuner": {"label": 1, "model": "v1", "space": "v0"}})
    one = DocList[ContentDocument]([document])
    assert embedded(one, MADE[:1], "v2", "v1")[0].tags["finetuner"] == {
        "label": 1,
        "model": "v2",
        "space": "v1",
    }
    for space in (None, "v3"):
        tags = embedded(one, MADE[:1], "v3", space)[0].tags
        assert tags == {"a": 1, "finetuner": {"label": 1, "model": "v3"}}
