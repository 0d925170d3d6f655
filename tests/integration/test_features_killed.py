"""A cache of frozen outputs under processes that share it, and are killed with SIGKILL at any moment."""

import contextlib
import ctypes
import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetuner.contents import Contents, content_hash
from finetuner.features import FeatureCache, cache

FORKS = multiprocessing.get_context("fork")
KILLS = 40
SHARED = 4000
"""Contents that two processes want at once."""

TEXTS = [f"text {number}" for number in range(400)]
HASHES = np.array([list(content_hash(text)) for text in TEXTS], np.uint8)
TABLES = {
    name: np.random.default_rng(row).random((len(TEXTS), 96), np.float32) for row, name in enumerate("abc")
}
Vectors = NDArray[np.float32]
ROOM = 2 * TABLES["a"].nbytes
"""Bytes for all encoders, so that one of three is evicted now and then."""


def test_whatever_is_killed_no_vector_is_wrong(tmp_path: Path) -> None:
    """Two processes fill, evict and clear one cache until SIGKILL: every vector that anybody then reads is right."""
    found = told("killed", tmp_path)
    assert found["wrong"] == 0
    assert found["kills"] >= KILLS
    assert found["torn"] > 0
    assert found["kept"] > 0


def test_two_that_want_the_same_share_the_work(tmp_path: Path) -> None:
    """Both get the same vectors, which are kept once, and hardly any content was embedded by both."""
    found = told("shared", tmp_path)
    assert found["alike"]
    assert found["rows"] == SHARED
    assert min(found["embedded"]) > 0
    assert SHARED <= sum(found["embedded"]) <= 1.1 * SHARED


def told(what: str, folder: Path) -> dict[str, Any]:
    """Return what this module found out in a process of its own, which has no threads and can be forked."""
    command = [sys.executable, "-m", "tests.integration.test_features_killed", what, str(folder)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def read(folder: Path, name: str, chosen: list[int]) -> tuple[bool, int]:
    """Return whether the vectors of some texts are right, and how many of them had to be embedded."""
    embedded = 0

    def embed(contents: Contents) -> Vectors:
        nonlocal embedded
        embedded += len(contents)
        return TABLES[name][[int(str(text).removeprefix("text ")) for text in contents]]

    opened = FeatureCache(folder, most_bytes=ROOM)
    rows = opened.features(name, [TEXTS[row] for row in chosen], HASHES[chosen], embed)
    return np.array_equal(rows.take(np.arange(len(chosen))), TABLES[name][chosen]), embedded


def use(folder: Path, seed: int, wrong: ctypes.c_int) -> None:
    """Use a cache until the end, and count what is wrong."""
    drawn = random.Random(seed)
    while True:
        chosen = drawn.sample(range(len(TEXTS)), drawn.randrange(1, len(TEXTS)))
        right, _ = read(folder, drawn.choice("abc"), chosen)
        wrong.value += not right
        if drawn.random() < 0.02:
            FeatureCache(folder, most_bytes=ROOM).clear()


def killed(folder: Path) -> dict[str, int]:
    """Kill processes that use a cache, read it after each kill, and count what was found."""
    cache.PORTION = 32
    drawn = random.Random(0)
    wrong = FORKS.RawValue(ctypes.c_int, 0)
    found = {"kills": 0, "torn": 0, "kept": 0}
    processes: list[ForkProcess] = []
    while found["kills"] < KILLS:
        while len(processes) < 2:
            processes.append(started(use, folder, drawn.randrange(2**32), wrong))
        time.sleep(drawn.uniform(0, 0.03))
        for _ in range(drawn.choice((1, 1, 2))):
            process = processes.pop(0)
            process.kill()
            process.join()
            found["kills"] += 1
        found["torn"] += not processes and torn(folder)
        name, half = drawn.choice("abc"), drawn.sample(range(len(TEXTS)), len(TEXTS) // 2)
        right, embedded = read(folder, name, half)
        wrong.value += not right
        found["kept"] += len(half) - embedded
    for process in processes:
        process.kill()
    return {**found, "wrong": wrong.value}


def torn(folder: Path) -> bool:
    """Return whether an encoder has a portion that was not finished."""
    for about in folder.glob("*.features/about.json"):
        told = json.loads(about.read_text())
        if about.with_name("rows.f32").stat().st_size > told["rows"] * told["dim"] * 4:
            return True
    return False


def shared(folder: Path) -> dict[str, Any]:
    """Let two processes embed the same at once, each in its own way."""
    cache.PORTION = 64
    embedded, barrier = [FORKS.RawValue(ctypes.c_int, 0) for _ in range(2)], FORKS.Barrier(2)
    processes = [started(share, folder, number, embedded[number], barrier) for number in range(2)]
    for process in processes:
        process.join()
    first, second = (np.load(folder / f"{number}.npy") for number in range(2))
    [hashes] = folder.glob("*.features/hashes.bin")
    return {
        "alike": np.array_equal(first, second),
        "rows": hashes.stat().st_size // 20,
        "embedded": [count.value for count in embedded],
    }


def share(folder: Path, number: int, embedded: ctypes.c_int, barrier: Barrier) -> None:
    """Embed as one of two; vectors tell who made them."""
    hashes = np.random.default_rng(0).integers(0, 256, (SHARED, 16), dtype=np.uint8)

    def embed(contents: Contents) -> Vectors:
        if not embedded.value:
            with contextlib.suppress(ValueError):
                barrier.wait()
        embedded.value += len(contents)
        until = time.perf_counter() + 0.01
        while time.perf_counter() < until:
            pass
        return np.full((len(contents), 4), number, np.float32)

    rows = FeatureCache(folder, most_bytes=2**30).features("a", [""] * SHARED, hashes, embed)
    np.save(folder / f"{number}.npy", rows.take(np.arange(SHARED)))


def started(function: Callable[..., None], *arguments: object) -> ForkProcess:
    """Return a fork that carries out a function."""
    process = FORKS.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"killed": killed, "shared": shared}[sys.argv[1]](Path(sys.argv[2]))))
    sys.stdout.flush()
    os._exit(0)
