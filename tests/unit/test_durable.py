"""What is synced when something has to outlive a crash."""

import os
from pathlib import Path

import pytest

from finetuner.durable import sync_tree


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
