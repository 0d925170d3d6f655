"""A Flow that holds more than fits into any buffer, and can be killed and started again."""

import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from docarray import DocList

from demo.flow import TUNE, RunningFlow, on_free_ports, running_flow
from executors.client import FlowClient
from executors.documents import PackDocument, pack_to_wire
from finetuner.packs import Pack
from tests.feeders import FORKS, serve
from tests.integration.asking import pod
from tests.integration.conftest import TINY
from tests.waiting import until

PACKS, DOCUMENTS, WIDTH = 50, 256, 4096
"""Of the collection ``large``: packs that are fed, documents in each, float32 numbers in each."""

LARGE = PACKS * DOCUMENTS * WIDTH * 4
"""Bytes of its contents, 210 MB: far more than lies anywhere between a reader and the database."""

SOME: dict[str, Any] = {"collection": "large", "num_total": 600}
"""A part of it to read document by document, 20 MB."""


def large_pack(number: int) -> Pack:
    """Return a pack in which each document matches the next one."""
    blobs = np.tile(np.arange(WIDTH, dtype=np.float32), (DOCUMENTS, 1))
    blobs[:, 0] = number * DOCUMENTS + np.arange(DOCUMENTS)
    rows = np.arange(DOCUMENTS)
    names = [f"{number}-{row}" for row in rows]
    offsets = np.arange(DOCUMENTS + 1)
    return Pack(0, names, None, blobs, rows, offsets, np.roll(rows, -1), np.ones(DOCUMENTS))


class Site:
    """A Flow that can be killed, and started again with the same ports and the same workspace.

    Args:
        folder: For its workspace.
    """

    def __init__(self, folder: Path) -> None:
        self._workspace = folder / "workspace"
        self._topology = folder / "tune.yml"
        self._topology.write_text(on_free_ports(TUNE.read_text()))
        self.start()

    @property
    def client(self) -> FlowClient:
        """A client of its gateway."""
        return self._flow.client

    @property
    def address(self) -> str:
        """The address of its gateway."""
        return f"grpc://127.0.0.1:{self._flow.ports[0]}"

    @property
    def processes(self) -> list[int]:
        """The ids of the gateway and of the data Executor."""
        return [pod(self._flow, "gateway"), self._executor]

    def feed(self, packs: Sequence[int], collection: str = "large") -> None:
        """Feed packs by their numbers."""
        for number in packs:
            documents = DocList[PackDocument]([pack_to_wire(large_pack(number))])
            self.client.post("/feed_packs", documents, collection=collection)

    def start(self) -> None:
        """Start it."""
        self._running = contextlib.ExitStack()
        running = running_flow(self._workspace, topology=self._topology, environment=TINY)
        self._flow: RunningFlow = self._running.enter_context(running)
        self._executor = pod(self._flow, "match_data")

    def kill(self) -> None:
        """Kill all of its processes."""
        if self._flow.process.poll() is None:
            os.killpg(self._flow.process.pid, signal.SIGKILL)
            self._flow.process.wait()
        self._running.close()
        _wait_for(self._flow.ports)

    def start_executor(self) -> None:
        """Start a data Executor where the one was that was killed; the gateway has found it when this returns."""
        url = f"sqlite:///{self._workspace / 'match_data' / 'matches.db'}"
        arguments = (url, self._flow.ports[2], self._workspace)
        another = FORKS.Process(target=serve, args=arguments, daemon=True)
        another.start()
        self._running.callback(another.join)
        self._running.callback(another.kill)
        assert another.pid is not None, "it was started"
        self._executor = another.pid
        until(self._has_executor)

    def _has_executor(self) -> bool:
        try:
            self.client.post("/collections")
        except ConnectionError:
            return False
        return True

    def kill_executor(self) -> None:
        """Kill the data Executor alone."""
        os.kill(self._executor, signal.SIGKILL)
        _wait_for([self._flow.ports[2]])


def _wait_for(ports: Sequence[int]) -> None:
    """Return when ports are free: threads may outlive a killed process for a moment, and what they listen to."""
    until(lambda: not any(map(_is_taken, ports)))


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
