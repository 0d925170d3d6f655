"""The training process: ``python -m finetuner.training.worker <run folder>``.

A process of its own, so that a crash, its memory and its load stay out of serving. It reads the run's folder,
writes events and weights into it, and ends with 0 or with the reason as an event.
"""

import logging
import os
import sys
import threading
from pathlib import Path

import torch

from finetuner.errors import FinetunerError
from finetuner.lifecycle.version import Version
from finetuner.matches import MatchSet
from finetuner.models import Encoder, EncoderSpec
from finetuner.training.fit import tune
from finetuner.training.options import TrainingOptions
from finetuner.training.run_folder import RunFolder

FAILED = 3
"""Exit code after an error that was reported as an event."""


def main() -> int:
    """Run the training of the folder on the command line; return the exit code."""
    _end_with_parent()
    os.nice(10)  # serving goes first
    torch.set_num_threads(max(1, (os.cpu_count() or 1) - 1))  # and keeps a core
    return carry_out(RunFolder(Path(sys.argv[1])))


def carry_out(run: RunFolder) -> int:
    """Train as a run's task says; return the exit code: 0, or FAILED after an ``error`` event.

    The task holds ``encoder``, an :class:`EncoderSpec` as a mapping; ``options`` of the training; and ``versions``,
    the folder of the versions. The ``running`` event names ``parent_version``, where it starts, and ``rivals``, what
    it is compared with.
    """
    try:
        task = run.task()
        spec = EncoderSpec(**task["encoder"])
        [begun] = [event for event in run.events() if event["event"] == "running"]

        def load(version: str) -> Encoder:
            return Version.read(Path(task["versions"], version)).load(spec)

        rivals = {name: load(name) for name in begun["rivals"]}
        tune(
            load(begun["parent_version"]),
            MatchSet.load(run.data),
            TrainingOptions.parse(task["options"], where="fit"),
            rivals=rivals,
            folder=run.candidate,
            report=run.report,
        )
    except FinetunerError as error:
        run.report("error", {"type": type(error).__name__, "message": str(error)})
        return FAILED
    return 0


def _end_with_parent() -> None:
    """End at once when the parent is gone: its end of our standard input closes, however it died."""

    def wait() -> None:
        os.read(0, 1)  # not through sys.stdin, whose lock would be held when the interpreter ends
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    sys.exit(main())
