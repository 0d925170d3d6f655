"""Swaps under load: does a request fail, is a batch of two versions, and for how long does nobody get an answer?

Two versions of a network with 3.7 million weights serve in turns, by ``/promote`` and ``/rollback``, while batches of 64
images come through the gateway at half the rate that it can do, whether those before are answered or not (open loop).
Each answer is compared with what the library makes of the same images with the version on its stamp.

A gap is the time between two answers that follow each other. At a steady rate it is usually one spacing, 1 / rate; what it
is longer is told in batches, which is how long one request takes that comes alone. The same load without swaps has gaps,
too, since processes share a machine; both are measured in turns and as long as each other, and the median over rounds of
the longest gap of a round is told beside the longest of all. Swaps are measured as they are by default, when both versions
stay loaded and only their files are verified, and with ``keep_warm=1``, when each is verified, loaded and warmed up again.
"""

import asyncio
import gc
import json
import math
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from docarray import DocList
from numpy.typing import NDArray

from benchmarks._swap_load import TURNS, Caller, Window
from demo.flow import running_flow
from executors.documents import ContentDocument
from finetuner.lifecycle import open_registry
from finetuner.lifecycle.live import begin
from finetuner.models import Embeddings, EncoderSpec, build_encoder

SPEC = EncoderSpec("mlp", {"hidden": 4096, "dim": 128})
BATCH = 64
SWAPS = 100
ROUNDS = 8
SECONDS_A_SWAP = 0.2


@dataclass(frozen=True)
class Measured:
    """One setting of ``keep_warm``.

    Attributes:
        batch: Seconds of a request that comes alone.
        rate: Requests a second of the load.
        quiet: The load without swaps.
        swapped: The load with swaps.
    """

    batch: float
    rate: float
    quiet: list[Window]
    swapped: list[Window]

    def longest(self, windows: list[Window]) -> list[float]:
        """Return for each window by how much its longest gap is longer than the usual spacing, in batches."""
        return [(max(window.gaps) - 1 / self.rate) / self.batch for window in windows]


async def measured(port: int, batch: DocList[ContentDocument]) -> Measured:
    """Measure a Flow that serves v0 and has v1."""
    caller = Caller(port, batch)
    await caller.alone(20)  # the first ones are slower
    for number in range(len(TURNS)):
        await caller.turn(number)
    alone, rate = await caller.alone(100), await caller.capacity(200) / 2
    swaps = math.ceil(SWAPS / ROUNDS / len(TURNS)) * len(TURNS)
    seconds = swaps * SECONDS_A_SWAP
    quiet, swapped = [], []
    for _ in range(ROUNDS):
        quiet.append(await caller.load(rate, seconds))
        swapped.append(await caller.load(rate, seconds, swaps=swaps))
    return Measured(alone, rate, quiet, swapped)


def prepare(workspace: Path, images: NDArray[np.float32]) -> dict[str, Embeddings]:
    """Register two versions of other weights in a workspace, and return what they make of the images."""
    registry = open_registry(None, workspace / "finetuner")
    begin(registry, SPEC, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        build_encoder(SPEC, seed=1).save(Path(folder))
        registry.register(Path(folder), SPEC, {"parent": None, "run": None})
    return {name: registry.load(name, SPEC).embed(images) for name in ("v0", "v1")}


def main() -> None:
    """Measure both settings, and print the figures."""
    gc.freeze()  # a full collection of what was imported would look like a gap
    images = np.random.default_rng(0).random((BATCH, 28, 28), np.float32)
    batch = DocList[ContentDocument](ContentDocument(blob=image) for image in images)
    settings = {"FINETUNER_ENCODER": SPEC.name, "FINETUNER_ENCODER_OPTIONS": json.dumps(SPEC.options)}
    found: dict[int, Measured] = {}
    faults: dict[int, tuple[int, int]] = {}
    for keep_warm in (2, 1):
        with tempfile.TemporaryDirectory() as name:
            expected = prepare(Path(name), images)
            if np.abs(expected["v0"] - expected["v1"]).max() < 0.1:
                raise SystemExit("the two versions embed alike, so that nothing could be told apart")
            environment = {**settings, "FINETUNER_KEEP_WARM": str(keep_warm)}
            with running_flow(Path(name), free_ports=True, environment=environment) as flow:
                found[keep_warm] = asyncio.run(measured(flow.ports[0], batch))
        windows = found[keep_warm].quiet + found[keep_warm].swapped
        each = [window.faults(expected) for window in windows]
        faults[keep_warm] = sum(one for one, _ in each), sum(two for _, two in each)
        print_table(keep_warm, found[keep_warm], faults[keep_warm])
    print(json.dumps(summary(found, faults)))


def print_table(keep_warm: int, found: Measured, faults: tuple[int, int]) -> None:
    """Print what was measured with one setting."""
    print(
        f"keep_warm={keep_warm}: {BATCH} images in {found.batch * 1e3:.1f} ms alone, {found.rate:.1f} requests a second; "
        f"{faults[0]} failed, {faults[1]} mixed"
    )
    print(
        f"  {'':<10}{'answers':>8}{'swaps':>7}{'gap: median':>14}{'99 %':>9}{'longest':>9}  longest of each round, ms"
    )
    for name, windows in (("no swaps", found.quiet), ("swaps", found.swapped)):
        gaps = sorted(gap * 1e3 for window in windows for gap in window.gaps)
        rounds = " ".join(f"{max(window.gaps) * 1e3:.0f}" for window in windows)
        answers, swaps = (sum(one) for one in zip(*((len(w.answers), w.swaps) for w in windows), strict=True))
        print(
            f"  {name:<10}{answers:>8}{swaps:>7}{statistics.median(gaps):>14.1f}{gaps[int(0.99 * len(gaps))]:>9.1f}"
            f"{gaps[-1]:>9.1f}  {rounds}"
        )
    took = [seconds * 1e3 for window in found.swapped for seconds in window.swap_seconds]
    print(
        f"  a swap takes {statistics.median(took):.1f} ms, at most {max(took):.1f} ms, as its client sees it"
    )


def summary(found: dict[int, Measured], faults: dict[int, tuple[int, int]]) -> dict[str, Any]:
    """Return the figures of the last line; those of ``keep_warm=1`` end in ``_loading``."""
    told: dict[str, Any] = {
        "benchmark": "swap",
        "failed": sum(failed for failed, _ in faults.values()),
        "mixed": sum(mixed for _, mixed in faults.values()),
    }
    for keep_warm, suffix in ((2, ""), (1, "_loading")):
        one = found[keep_warm]
        told |= {
            **gaps(f"longest_gap_batches{suffix}", one.longest(one.swapped)),
            **gaps(f"longest_gap_batches_without_swaps{suffix}", one.longest(one.quiet)),
            f"swaps{suffix}": sum(window.swaps for window in one.swapped),
            f"batch_ms{suffix}": round(one.batch * 1e3, 1),
            f"requests_per_second{suffix}": round(one.rate, 1),
        }
    return told


def gaps(name: str, longest: list[float]) -> dict[str, float]:
    """Return the median over rounds and the longest of all: one pause of the machine is not what a swap costs."""
    return {name: round(statistics.median(longest), 2), f"{name}_max": round(max(longest), 2)}


if __name__ == "__main__":
    main()
