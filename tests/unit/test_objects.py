"""Objects of a bucket: read, written, and created by one of several."""

from pathlib import Path

import pytest

from finetuner.errors import OptionError, RegistryError
from finetuner.lifecycle.objects import Objects


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    """Return a prefix that no other test uses."""
    return Objects(f"memory://objects{tmp_path}/")


def test_an_object_is_written_read_and_deleted(objects: Objects, tmp_path: Path) -> None:
    """What is not there is None or no fault; names are relative and sorted, those of other folders left out."""
    assert (objects.get("a/2"), objects.names("a")) == (None, [])
    for name in ("a/2", "a/b/1", "ab/3"):
        objects.put(name, name.encode())
    objects.put("a/2", b"new")
    assert objects.names("a") == ["a/2", "a/b/1"]
    assert objects.get_all(["a/b/1", "a/none", "a/2"]) == [b"a/b/1", b"new"]
    for name in ("a/2", "a/3"):
        objects.download(name, tmp_path / name[-1])
    assert ((tmp_path / "2").read_bytes(), (tmp_path / "3").exists()) == (b"new", False)
    objects.delete(["a/2", "a/none"])
    assert objects.names("a") == ["a/b/1"]


def test_an_object_is_created_once(objects: Objects) -> None:
    """The second one is told so, and changes nothing."""
    assert [objects.create("one", content) for content in (b"1", b"2")] == [True, False]
    assert objects.get("one") == b"1"


def test_a_file_is_uploaded(objects: Objects, tmp_path: Path) -> None:
    """With all that it holds, unless there is such an object: that stays."""
    (tmp_path / "file").write_bytes(bytes(range(256)))
    assert objects.upload(tmp_path / "file", "a/file")
    (tmp_path / "other").write_bytes(b"other")
    assert not objects.upload(tmp_path / "other", "a/file")
    assert objects.get("a/file") == bytes(range(256))


def test_a_url_that_nothing_can_read_is_refused_at_once() -> None:
    """The message says what can be done."""
    with pytest.raises(OptionError, match=r"registry 'nowhere://a/b' cannot be opened: .*finetuner\[s3\]"):
        Objects("nowhere://a/b")


def test_what_a_file_system_says_is_said_as_an_error_of_ours(tmp_path: Path) -> None:
    """With the place, what was being done, and the reason."""
    (tmp_path / "taken").write_text("")
    objects = Objects(f"file://{tmp_path}/taken")
    with pytest.raises(
        RegistryError, match=r"file://.*taken: writing a/b failed: \w+Error: .*check the address"
    ):
        objects.put("a/b", b"")
