"""Which versions are kept for the sake of runs."""

from pathlib import Path
from typing import Any

import pytest

from finetuner.training.needed import needed_versions
from finetuner.training.run_folder import RunFolder

BEGUN: dict[str, Any] = {"parent_version": "v1", "rivals": ["v0", "v2"]}


@pytest.mark.parametrize(
    ("events", "has_data", "needed"),
    [
        ([], False, {"active"}),
        ([("cancelled", {})], False, set()),
        ([("cancelled", {})], True, {"active"}),
        ([("running", BEGUN)], True, {"v0", "v1", "v2"}),
        ([("running", BEGUN), ("failed", {})], True, {"v0", "v1", "v2"}),
        ([("running", BEGUN), ("failed", {})], False, set()),
        ([("running", BEGUN), ("succeeded", {})], False, set()),
    ],
)
def test_what_a_run_needs(
    tmp_path: Path, events: list[tuple[str, dict[str, Any]]], has_data: bool, needed: set[str]
) -> None:
    """Where it starts from and what it is compared with, as long as it waits, trains or can be resumed."""
    run = RunFolder.create(tmp_path / "run", {"parent": "active"})
    if has_data:
        run.data.mkdir()
    for event, figures in events:
        run.report(event, figures)
    assert needed_versions([run]) == needed
