"""The runs of a folder, for whoever only looks at them."""

from pathlib import Path

from finetuner.errors import UnknownRunError
from finetuner.training.run_folder import RunFolder


def runs_in(folder: Path) -> list[RunFolder]:
    """Return all runs of a folder, the oldest first."""
    complete = folder.glob("*/run.json")
    return [RunFolder(file.parent) for file in sorted(complete, key=lambda file: file.stat().st_mtime_ns)]


def run_in(folder: Path, run_id: str) -> RunFolder:
    """Return a run of a folder.

    Raises:
        UnknownRunError: If there is none of that id.
    """
    runs = {run.id: run for run in runs_in(folder)}
    if run_id not in runs:
        known = ", ".join(runs) or "none"
        raise UnknownRunError(f"there is no run {run_id!r}; known are {known}")
    return runs[run_id]
