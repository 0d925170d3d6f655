"""A Flow as a process of its own: started as a user starts it, and ended cleanly."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from executors.client import FlowClient

TUNE = Path(__file__).parent.parent / "flows" / "tune.yml"
START_SECONDS = 60


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
    workspace: Path,
    *,
    topology: Path = TUNE,
    free_ports: bool = False,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[RunningFlow]:
    """Run ``jina flow --uses flows/tune.yml`` until the block ends; nothing of it is left over.

    Args:
        workspace: Where its Executors keep everything, and where its log goes.
        topology: The file to start, as it is named on the command line.
        free_ports: Start a copy of it with ports that are free now.
        environment: Settings for the Executors, ``FINETUNER_...``.
        cwd: Where to start it.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    text = Path(cwd or "", topology).read_text()
    text = on_free_ports(text) if free_ports else text
    ports = _ports(text)
    _refuse_taken(ports)
    log = workspace / "flow.log"
    with tempfile.TemporaryDirectory() as folder, log.open("ab") as output:
        if free_ports:
            topology = Path(folder, topology.name)
            topology.write_text(text)
        settings = {"FINETUNER_WORKSPACE": str(workspace), "JINA_OPTOUT_TELEMETRY": "1"}
        started, said = time.perf_counter(), output.tell()
        process = subprocess.Popen(
            [Path(sys.executable).parent / "jina", "flow", "--uses", str(topology)],
            env={**os.environ, "JINA_DEFAULT_HOST": "127.0.0.1", **settings, **(environment or {})},
            cwd=cwd,
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that all of it can be ended at once
        )
        try:
            client = FlowClient(f"grpc://127.0.0.1:{ports[0]}")
            _wait_until(lambda: _answers(client), process, log)
            ready = time.perf_counter() - started
            # jina loses an interrupt that comes before it has said so
            _wait_until(lambda: b"ready to serve" in log.read_bytes()[said:], process, log)
            yield RunningFlow(process, client, f"http://127.0.0.1:{ports[1]}", ports, ready, log)
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def on_free_ports(topology: str) -> str:
    """Return the text of a topology with ports that are free now instead of its 51xxx."""
    for port in _ports(topology):
        topology = topology.replace(str(port), str(_free_port()))
    return topology


def _ports(topology: str) -> list[int]:
    return list(dict.fromkeys(int(port) for port in re.findall(r"\b[25]\d{4}\b", topology)))


def _free_port() -> int:
    while True:
        # below those that the system hands out: a client could be given one of them meanwhile
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def _answers(client: FlowClient) -> bool:
    try:
        client.wait_until_ready(1)
    except ConnectionError:
        return False
    return True


def _wait_until(true: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while not true():
        if process.poll() is not None or time.monotonic() > until:
            how = (
                "did not start in time" if process.returncode is None else f"ended with {process.returncode}"
            )
            raise RuntimeError(f"jina flow {how}:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.02)


def _refuse_taken(ports: list[int]) -> None:
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                raise SystemExit(f"port {port} is taken, perhaps by another Flow: end that first")
