"""Which versions runs need that are not through."""

from collections.abc import Iterable

from finetuner.training.run_folder import FINAL, RunFolder


def needed_versions(runs: Iterable[RunFolder]) -> set[str]:
    """Return the versions that runs start from or are compared with, as long as they may train yet.

    These are runs that wait, that train, or that ``/resume`` can take up; ``base`` and ``active`` are names, too.
    """
    needed: set[str] = set()
    for run in runs:
        begun = [event for event in run.events() if event["event"] == "running"]
        if begun and run.data.exists():
            needed |= {begun[0]["parent_version"], *begun[0]["rivals"]}
        elif not begun and (run.data.exists() or run.state() not in FINAL):
            needed.add(run.task()["parent"])
    return needed
