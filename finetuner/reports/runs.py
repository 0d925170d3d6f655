"""The report of a run, beside its curves: written by the training process, read by the service."""

import dataclasses
import json
import logging
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from finetuner.errors import FinetunerError, TrainingError
from finetuner.features import FeatureCache
from finetuner.matches import MatchSet
from finetuner.models import Encoder
from finetuner.reports.deciding import UNDECIDED, decided
from finetuner.reports.making import report
from finetuner.reports.promotion import Decision, promotion
from finetuner.training.compare import PRIMARY, decides, used_rows
from finetuner.training.disk_full import CannotWrite, is_disk_full

BESIDE = 1000
"""Anchors that are asked about the view that does not decide, at most."""

_log = logging.getLogger(__name__)


class Saved(NamedTuple):
    """The report of a run as it is on disk.

    Attributes:
        data: What :meth:`finetuner.reports.Report.as_dict` returned.
        page: The same as a page.
    """

    data: dict[str, Any]
    page: str


def of_run(
    encoders: Mapping[str, Encoder],
    holdout: MatchSet,
    folder: Path,
    *,
    events: Iterable[Mapping[str, Any]],
    cache: FeatureCache,
    seed: int,
    compatibility: Mapping[str, Mapping[str, Any]] | None = None,
    seconds: float = 60,
) -> bool:
    """Write ``report.html`` and ``report.json`` into the folder of a run, and return whether they are there.

    Whatever goes wrong with a report, or takes long, has no part in how the run ends, and is told in its log; but where the
    disk is full, the run should say so. What the comparison of the run has made of contents is found in the cache: where
    judged matches decide, nothing but the contents of the held-out anchors and of their matches is looked at.

    Args:
        encoders: Those that the run compared; the last one is the candidate.
        holdout: The anchors on which it compared them.
        folder: The run's.
        events: The run's so far, for curves, guards and the share of the way.
        cache: Where the run keeps what modules make of contents.
        seed: The run's.
        compatibility: What indexes of older versions are worth, see :func:`finetuner.reports.promotion.promotion`.
        seconds: After which the run does not wait any longer.

    Raises:
        OSError: If the disk is full; so says :func:`finetuner.training.disk_full.is_disk_full`.
        SafetensorError: As OSError.
    """
    events = list(events)
    told = {str(event["event"]): event for event in events}
    evaluated = told.get("evaluated", {})
    unwritten: list[Exception] = []
    done: list[bool] = []

    def write() -> None:
        try:
            report(
                encoders,
                _used_alone(holdout) if decides(holdout) == "judged" else holdout,
                beside=BESIDE,
                metric=evaluated.get("primary", PRIMARY),
                confidence=evaluated.get("confidence", 0.95),
                events=events,
                promotion=promotion(None, told.get("line"), evaluated.get("guards"), compatibility),
                cache=cache,
                seed=seed,
                title=f"Run {folder.name}",
            ).save(folder)
            done.append(True)
        except FinetunerError as error:
            _log.info("no report: %s", error)
        except CannotWrite as error:
            _log.warning("no report: %s", error)
            unwritten.append(error)

    # an error that nobody expects ends the thread alone, and is in the log with its trace
    writing = threading.Thread(target=write, daemon=True)
    writing.start()
    writing.join(timeout=seconds)
    if writing.is_alive():
        _log.warning("no report: it takes longer than %g s", seconds)
    if unwritten and is_disk_full(unwritten[0]):
        raise unwritten[0]
    return bool(done)


def saved(folder: Path, decision: Mapping[str, Any] | None = None) -> Saved:
    """Return the report of a run.

    Args:
        folder: The run's.
        decision: What the gate has decided since then, ``promoted`` and ``reason``; it is put where none is told yet.

    Raises:
        TrainingError: If the run has none.
    """
    try:
        data: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        page = (folder / "report.html").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise TrainingError(
            f"run {folder.name!r} has no report: {why}; one is written at the end of a training that holds out anchors "
            "with a positive match; what else went wrong is in the run's log.txt"
        ) from error
    if decision is not None and data["promotion"]["decision"] is None:
        found = Decision(bool(decision["promoted"]), str(decision["reason"]))
        data["promotion"]["decision"] = dataclasses.asdict(found)
        page = page.replace(UNDECIDED, decided(found), 1)
    return Saved(data, page)


def _used_alone(matches: MatchSet) -> MatchSet:
    """Return a match set with the contents alone that are anchors or judged."""
    rows = used_rows(matches)
    return dataclasses.replace(
        matches,
        contents=matches.take(rows),
        ids=[matches.ids[row] for row in rows],
        hashes=matches.hashes[rows],
        anchors=np.searchsorted(rows, matches.anchors),
        matches=np.searchsorted(rows, matches.matches),
    )
