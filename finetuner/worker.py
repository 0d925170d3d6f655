"""The training process: ``python -m finetuner.worker <run folder>``.

A process of its own, so that a crash, its memory and its load stay out of serving. It reads the run's folder,
writes events and weights into it, and ends with 0 or with the reason as an event.
"""

import contextlib
import fcntl
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from finetuner.compatibility import fit_maps
from finetuner.errors import FinetunerError, OptionError
from finetuner.features import FeatureCache
from finetuner.lifecycle.version import Version
from finetuner.matches import MatchSet
from finetuner.models import Encoder, EncoderSpec
from finetuner.reports import of_run
from finetuner.training.curves import draw_curves
from finetuner.training.disk_full import CannotWrite, is_disk_full
from finetuner.training.fit import tune
from finetuner.training.options import TrainingOptions
from finetuner.training.process import DISK_FULL, FAILED
from finetuner.training.run_folder import LEADS_TO, RunFolder
from finetuner.training.watch import Report

_log = logging.getLogger(__name__)


def main() -> int:
    """Run the training of the folder on the command line; return the exit code."""
    _end_with_parent()
    _let_serving_go_first()
    run = RunFolder(Path(sys.argv[1]))
    with _alone(run):
        try:
            return carry_out(run)
        finally:
            _draw_aside(run)


def carry_out(run: RunFolder) -> int:
    """Train as a run's task says, from where it stands; return the exit code: 0, FAILED or DISK_FULL.

    The task holds ``encoder``, an :class:`EncoderSpec` as a mapping; ``options`` of the training; ``versions``, the
    folder of the versions; and ``features``, the folder of the feature cache, with ``feature_cache_bytes``; 0 for
    one that goes with the run. The
    ``running`` event names ``parent_version``, where it starts, and ``rivals``, what it is compared with.
    """
    try:
        _train(run)
    except FinetunerError as error:
        run.report("error", {"type": type(error).__name__, "message": str(error)})
        return FAILED
    except CannotWrite as error:
        if not is_disk_full(error):
            raise
        run.discard_halves()  # what could not be written is no use, and its room is
        with contextlib.suppress(OSError):
            run.report("error", {"type": type(error).__name__, "message": str(error)})
        return DISK_FULL
    return 0


def _train(run: RunFolder) -> None:
    task = run.task()
    spec = EncoderSpec(**task["encoder"])
    [begun] = [event for event in run.events() if event["event"] == "running"]

    def load(version: str) -> Encoder:
        return Version.read(Path(task["versions"], version)).load(spec)

    rivals = {name: load(name) for name in begun["rivals"]}
    options = TrainingOptions.parse(task["options"], where="fit")
    most_bytes = task["feature_cache_bytes"]
    cache = FeatureCache(Path(task["features"]) if most_bytes else run.features, most_bytes=most_bytes)
    report = _report_once(run)
    tuned = tune(
        load(begun["parent_version"]),
        MatchSet.load(run.data),
        options,
        rivals=rivals,
        guards=run.guard_sets(),
        state=run.checkpoint,
        cache=cache,
        report=report,
    )
    tuned.encoder.save(run.candidate)
    maps = fit_maps(
        tuned.encoder, rivals, parts=tuned.parts, cache=cache, folder=run.candidate, seed=options.seed
    )
    report("maps", {"maps": maps})
    of_run(
        {**rivals, "candidate": tuned.encoder},
        tuned.parts[2],
        run.path,
        events=run.events(),
        cache=cache,
        seed=options.seed,
        compatibility=maps,
    )


def _report_once(run: RunFolder) -> Report:
    """Return a report that leaves out what is told already: one that goes on begins a little before it was ended.

    ``progress`` comes ever more seldom in a long run, so that the events stay few enough to be read at once.
    """
    known = {_told(event) for event in run.events()}
    began = spoke = time.monotonic()

    def report(event: str, figures: dict[str, Any]) -> None:
        nonlocal spoke
        now = time.monotonic()
        if event == "progress" and now - spoke < (now - began) / 1000:
            return
        if _told({"event": event, **figures}) not in known:
            run.report(event, figures)
            spoke = now

    return report


def _told(event: dict[str, Any]) -> str:
    """Return what makes two events one: of an epoch its number, of all others the figures but for the time."""
    if event["event"] == "epoch":
        return f"epoch {event['epoch']}"
    if event["event"] in LEADS_TO:
        return ""
    return json.dumps({name: value for name, value in event.items() if name != "time"}, sort_keys=True)


def _draw_aside(run: RunFolder) -> None:
    """Draw in a thread: whatever goes wrong with a picture, or takes long, has no part in how the run ends."""
    drawing = threading.Thread(target=_draw, args=[run], daemon=True)
    drawing.start()
    drawing.join(timeout=10)


def _draw(run: RunFolder) -> None:
    events = run.events()
    if not any(event["event"] == "epoch" for event in events):
        return
    aside = run.path / "curves.part.svg"
    try:
        draw_curves(events, aside)
        aside.replace(run.path / "curves.svg")
    except (OptionError, OSError) as error:
        _log.info("no curves.svg: %s", error)


@contextlib.contextmanager
def _alone(run: RunFolder) -> Iterator[None]:
    """Wait for a process of a killed service that still ends."""
    with (run.path / "run.json").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _let_serving_go_first() -> None:
    os.nice(10)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) - 1))  # and keeps a core
    with contextlib.suppress(
        OSError
    ):  # Linux: where memory runs out, this process ends rather than that which serves
        Path("/proc/self/oom_score_adj").write_text("500")


def _end_with_parent() -> None:
    """End at once when the parent is gone: its end of our standard input closes, however it died."""

    def wait() -> None:
        os.read(0, 1)  # not through sys.stdin, whose lock would be held when the interpreter ends
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    exit_code = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(
        exit_code
    )  # an interpreter that ends beside a thread that is still in torch, drawing or reporting, aborts
