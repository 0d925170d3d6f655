"""Memory of emitting, pulling and training on 2,000 anchors with 20 matches each, and the speed of the stream.

For each process of the Flow it prints the peak of its resident memory, and how much that is beyond a process which
only imports torch. As documents the images alone would be 132 MB.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo.fashion_mnist import follow
from demo.flow import running_flow
from executors.client import FlowClient
from executors.documents import MatchDocument, PackDocument

COLLECTION = "fashion_mnist"


def main() -> None:
    """Run the Flow, watch its processes, and print the figures."""
    torch_mb = imports_torch_mb()
    with tempfile.TemporaryDirectory() as workspace, running_flow(Path(workspace), free_ports=True) as flow:
        per_second = asyncio.run(documents_per_second(flow.client, "/emit", MatchDocument, lambda one: 1))
        packed = asyncio.run(
            documents_per_second(flow.client, "/pack", PackDocument, lambda pack: len(pack.anchors))
        )
        peaks = asyncio.run(watched_run(flow.client, flow.process.pid))
    print(f"{'process':<28}{'peak MB':>9}{'beyond torch':>14}")
    print(f"{'import torch':<28}{torch_mb:>9.0f}{0:>14}")
    for name, peak in peaks.items():
        print(f"{name:<28}{peak:>9.0f}{peak - torch_mb:>14.0f}")
    extra = max(peaks.values()) - torch_mb
    result = {"benchmark": "memory_documents", "extra_mb": round(extra, 1)}
    speeds = {"documents_per_second": round(per_second, 1), "packed_documents_per_second": round(packed, 1)}
    print(json.dumps({**result, **speeds}))


def imports_torch_mb() -> float:
    """Return the peak of a process that imports torch, in MB."""
    code = "import torch; print(open('/proc/self/status').read())"
    status = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return peak_mb(status)


async def documents_per_second(
    client: FlowClient, endpoint: str, answer: type[Any], count_of: Callable[[Any], int]
) -> float:
    """Return how many match Documents a second a stream brings through the gateway; median of three."""
    speeds = []
    for _ in range(3):
        started, count = time.perf_counter(), 0
        async for document in client.stream(endpoint, answer=answer, collection=COLLECTION):
            count += count_of(document)
        speeds.append(count / (time.perf_counter() - started))
    return sorted(speeds)[1]


async def watched_run(client: FlowClient, parent: int) -> dict[str, float]:
    """Return the peak in MB of each process below ``parent`` while a run pulls its data and trains."""
    pods = sorted(below(parent))
    run = client.post("/fit", collection=COLLECTION)[0].id
    training = asyncio.create_task(follow(client, run))
    peaks: dict[str, float] = {}
    while not training.done():
        for pid in below(parent):
            try:
                if name := role(pid, pods):
                    peaks[name] = max(peaks.get(name, 0), peak_mb(Path(f"/proc/{pid}/status").read_text()))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
        await asyncio.sleep(0.05)
    await training
    return peaks


def below(parent: int) -> list[int]:
    """Return the ids of the processes that ``parent`` and its children have started."""
    found = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *below(child)]
    return found


def role(pid: int, pods: list[int]) -> str | None:
    """Return what a process of the Flow is for; the Flow starts its pods in the order of ``flows/tune.yml``."""
    if pid in pods:
        return ("data Executor", "tuner Executor", "gateway")[pods.index(pid)]
    # before it executes its own program, a new process still is a copy of the one that started it
    started = "finetuner.worker" in Path(f"/proc/{pid}/cmdline").read_text()
    return "training process" if started else None


def peak_mb(status: str) -> float:
    """Return the peak resident memory that a ``/proc/<pid>/status`` tells, in MB."""
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
