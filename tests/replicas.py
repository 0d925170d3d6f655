"""Replicas as processes that are started quickly and killed: for :mod:`tests.kill_replicas`."""

import ctypes
import multiprocessing
import os
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from random import Random
from threading import Event

import torch

from finetuner.errors import UnknownVersionError
from finetuner.lifecycle import Live, Registry, open_registry
from finetuner.lifecycle.bucket import BucketStore
from finetuner.lifecycle.live import begin
from finetuner.lifecycle.watch import Watch
from tests.two_classes import SPEC, encoder

FORKS = multiprocessing.get_context("forkserver")
"""Each process is a fork of one in which everything is imported already."""
FORKS.set_forkserver_preload(["finetuner.service", "tests.replicas"])

CHANGES = ("register", "promote", "roll back", "keep", "retire")
LEASE_SECONDS = 1.5


def opened(place: str, home: Path) -> Registry:
    """Return the registry at a place, with a lease that is out soon where it is a bucket."""
    if "://" in place:
        return Registry(BucketStore(place, home, lease_seconds=LEASE_SECONDS))
    return open_registry(place, home)


@dataclass(frozen=True)
class Replica:
    """A process that follows a registry and, while it holds it, changes it all the time.

    What it tells has no lock: who is killed holding one keeps it for ever.

    Attributes:
        process: The process.
        served: The number of the version that it serves; -1 at first.
        doing: The place in CHANGES of what it is doing, -1 for nothing.
        done: Changes so far.
        quiet: Of all replicas: whether they change nothing.
    """

    process: ForkServerProcess
    served: ctypes.c_int
    doing: ctypes.c_int
    done: ctypes.c_int
    quiet: ctypes.c_int

    @classmethod
    def start(cls, place: str, home: Path, seed: int, quiet: ctypes.c_int) -> "Replica":
        """Start one; it may take a moment until it serves."""
        served, doing, done = (FORKS.RawValue(ctypes.c_int, start) for start in (-1, -1, 0))
        process = FORKS.Process(
            target=_live, args=(place, home, seed, dict(os.environ), served, doing, done, quiet), daemon=True
        )
        process.start()
        return cls(process, served, doing, done, quiet)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.process.join()


def _live(
    place: str,
    home: Path,
    seed: int,
    environment: dict[str, str],
    served: ctypes.c_int,
    doing: ctypes.c_int,
    done: ctypes.c_int,
    quiet: ctypes.c_int,
) -> None:
    os.environ.update(environment)  # that of the process from which this one was forked is older
    torch.set_num_threads(1)
    registry = opened(place, home)
    begin(registry, SPEC, seed=0)
    live = Live(registry, SPEC, batch_size=8)
    holds = Event()
    watch = Watch(registry, live, take_over=holds.set, step_down=holds.clear, tidy=lambda: None)
    watch.start()
    with tempfile.TemporaryDirectory() as folder:
        encoder(seed).save(Path(folder))
        changer = Changer(registry, live, Path(folder), Random(seed))
        while True:
            served.value = int(live.version[1:])
            if holds.is_set() and not quiet.value:
                chosen = changer.random.randrange(len(CHANGES))
                doing.value = chosen
                changer.change(CHANGES[chosen])
                doing.value = -1
                done.value += 1
            else:
                time.sleep(0.002)


@dataclass
class Changer:
    """Changes a registry at random.

    Attributes:
        registry: The registry, which this process holds.
        live: What serves.
        weights: Of new versions.
        random: Decides.
    """

    registry: Registry
    live: Live
    weights: Path
    random: Random

    def change(self, what: str) -> None:
        """Do one of CHANGES."""
        names = [version.name for version in self.registry.versions()]
        if what == "register":
            self.registry.register(self.weights, SPEC, {"parent": "v0", "run": None}, by="test")
        elif what == "promote":
            self.live.promote(self.random.choice(names), by="test")
        elif what == "keep":
            self.registry.keep(self.random.choice(names), self.random.random() < 0.3, by="test")
        elif what == "retire":
            self.registry.retire(3)
        else:
            try:
                self.live.rollback(by="test")
            except UnknownVersionError:  # nothing is before it
                return
