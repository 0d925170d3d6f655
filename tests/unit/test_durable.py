"""What is synced when something has to outlive a crash."""

import os
from pathlib import Path

import pytest

from finetuner.durable import append_line, replace_file, sync_tree


def test_a_tree_is_synced_with_all_that_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file and folder below, and the folder itself after them: its entries are what a rename moves."""
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_text("x")
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    sync_tree(tmp_path)
    below, file = (path.stat().st_ino for path in (tmp_path / "below", tmp_path / "below" / "file"))
    assert sorted(synced[:-1]) == sorted([below, file])
    assert synced[-1] == tmp_path.stat().st_ino


def test_a_torn_line_stays_one_of_its_own(tmp_path: Path) -> None:
    """What a crash has left of a line spoils neither the one before nor the one after it."""
    file = tmp_path / "lines"
    append_line(file, "one")
    file.write_text(file.read_text() + "tw")
    append_line(file, "three")
    append_line(file, "four")
    assert file.read_text().splitlines() == ["one", "tw", "three", "four"]


def test_a_line_that_is_not_written_as_a_whole_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is not taken for success."""
    monkeypatch.setattr(os, "write", lambda handle, content: len(content) - 1)
    with pytest.raises(OSError, match="No space left"):
        append_line(tmp_path / "lines", "one")


def test_a_file_is_replaced_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the new content is on disk as a whole, the old one is there."""
    file = tmp_path / "file"
    replace_file(file, b"old")
    found: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda _: found.append(file.read_bytes()))
    replace_file(file, b"new")
    assert (found, [one.name for one in tmp_path.iterdir()]) == ([b"old", b"new"], ["file"])
