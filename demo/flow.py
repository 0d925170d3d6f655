"""A Flow as a process of its own: started as a user starts it, and ended cleanly."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from executors.client import FlowClient

TUNE = Path(__file__).parent.parent / "flows" / "tune.yml"


@dataclass(frozen=True)
class RunningFlow:
    """A Flow that answers.

    Attributes:
        process: ``jina flow``; the gateway and the Executors are its children.
        client: Speaks with its gateway.
        http: Where its gateway speaks HTTP.
        ports: Of gRPC, HTTP, and the Executors in their order.
        ready_seconds: From the start of the process until the gateway answered.
        log: What it printed.
    """

    process: subprocess.Popen[bytes]
    client: FlowClient
    http: str
    ports: list[int]
    ready_seconds: float
    log: Path

    def stop(self, seconds: float = 20) -> int:
        """End it as Ctrl-C does, and return its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(seconds)


@contextlib.contextmanager
def running_flow(
    workspace: Path, *, free_ports: bool = False, environment: Mapping[str, str] | None = None
) -> Iterator[RunningFlow]:
    """Run ``jina flow --uses flows/tune.yml`` until the block ends; nothing of it is left over.

    Args:
        workspace: Where its Executors keep everything, and where its log goes.
        free_ports: Take ports that are free now instead of those in the file.
        environment: Settings for the Executors, ``FINETUNER_...``.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    topology = TUNE.read_text()
    ports = list(dict.fromkeys(int(port) for port in re.findall(r"\b51\d{3}\b", topology)))
    if free_ports:
        chosen = _free_ports(len(ports))
        for old, new in zip(ports, chosen, strict=True):
            topology = topology.replace(str(old), str(new))
        ports = chosen
    _refuse_taken(ports)
    log = workspace / "flow.log"
    with tempfile.TemporaryDirectory() as folder, log.open("ab") as output:
        uses = TUNE
        if free_ports:
            uses = Path(folder, TUNE.name)
            uses.write_text(topology)
        settings = {"FINETUNER_WORKSPACE": str(workspace), "JINA_OPTOUT_TELEMETRY": "1"}
        started = time.perf_counter()
        process = subprocess.Popen(
            [Path(sys.executable).parent / "jina", "flow", "--uses", str(uses)],
            env={**os.environ, "JINA_DEFAULT_HOST": "127.0.0.1", **settings, **(environment or {})},
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that all of it can be ended at once
        )
        try:
            client = FlowClient(f"grpc://127.0.0.1:{ports[0]}")
            client.wait_until_ready(60)
            ready = time.perf_counter() - started
            yield RunningFlow(process, client, f"http://127.0.0.1:{ports[1]}", ports, ready, log)
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _refuse_taken(ports: list[int]) -> None:
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                raise SystemExit(f"port {port} is taken, perhaps by another Flow: end that first")
