"""What makes hundreds of tests a second possible: two processes that neither wait for a disk nor for each other."""

import gc
import logging
import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
ROOM = 2**30  # bytes, ten times what all tests write

# read when the first temporary folder is made, which is later than this
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

gc.disable()  # until all that is imported is there: a million objects, none of them garbage


def pytest_collection_finish() -> None:
    """Spare what all tests have imported each search for garbage, and search all of the rest seldom."""
    often, less, _ = gc.get_threshold()
    gc.set_threshold(often, less, 1000)
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Spare the rest as well: the end of a process searches twice, which takes a second."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def one_of_several_processes() -> Iterator[None]:
    """Compute on one core, as each core has a process; the process that only reports has no use for torch."""
    import torch

    torch.set_num_threads(1)
    # pytest hangs handlers on each logger that does not propagate, six times a test, and torch has fifty of them
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("torch") and isinstance(logger, logging.Logger):
            logger.propagate = True
    with pytest.MonkeyPatch.context() as patch:
        for device in (torch.cuda, torch.mtia, torch.xpu):
            if (
                not device.is_available()
            ):  # for the day it is, torch would keep each seed with a printed stack
                patch.setattr(device, "manual_seed_all", lambda seed: None)
        yield


@pytest.fixture(scope="module")
def covid_qa_read_once() -> Iterator[None]:
    """Read the bundled table of Covid QA once: nothing changes what is read, and reading takes most of a test."""
    from finetuner.sources.covid_qa import QuestionsAndAnswers
    from finetuner.sources.folders import source_folder

    read, bundled = QuestionsAndAnswers.read, source_folder("covid_qa") / "dataset.csv"
    once = cache(lambda: read(bundled))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(QuestionsAndAnswers, "read", lambda path: once() if path == bundled else read(path))
        yield
