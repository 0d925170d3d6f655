"""A Flow is started by its file, from anywhere, and leaves nothing behind."""

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.flow import TUNE, on_free_ports, running_flow
from tests.integration.asking import group
from tests.integration.conftest import TINY


@dataclass(frozen=True)
class Ended:
    """What became of a Flow that was started, asked and interrupted.

    Attributes:
        versions: What it answered to /models.
        processes: How many it had.
        code: Its exit code.
        left: Its processes that were still there afterwards.
        open_ports: Those of its ports at which somebody still listened.
    """

    versions: list[str]
    processes: int
    code: int
    left: list[int]
    open_ports: list[int]


@pytest.fixture(
    scope="module",
    params=[("elsewhere", "../x/flows/tune.yml"), ("x/flows", "tune.yml")],
    ids=["from another folder", "from its own folder"],
)
def ended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """A Flow that was named by a relative path, and interrupted as by Ctrl-C."""
    folder = tmp_path_factory.mktemp("start")
    cwd, topology = request.param
    for name in ("elsewhere", "x/flows"):
        (folder / name).mkdir(parents=True)
    (folder / "x/flows/tune.yml").write_text(on_free_ports(TUNE.read_text()))
    with running_flow(
        folder / "workspace", topology=Path(topology), cwd=folder / cwd, environment=TINY
    ) as flow:
        versions = [report.id for report in flow.client.post("/models")]
        processes = len(group(flow.process.pid))
        code = flow.stop()
        left = group(flow.process.pid)
        yield Ended(versions, processes, code, left, [port for port in flow.ports if is_open(port)])


def is_open(port: int) -> bool:
    """Return whether somebody listens at a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_relative_path_will_do(ended: Ended) -> None:
    """Started from any folder, the Flow finds its Executors and serves a base version."""
    assert ended.versions == ["v0"]


def test_an_interrupt_is_a_clean_end(ended: Ended) -> None:
    """Its exit code is 0."""
    assert ended.code == 0


def test_an_interrupted_flow_leaves_nothing_behind(ended: Ended) -> None:
    """Of its four processes and four ports none is left."""
    assert (ended.processes, ended.left, ended.open_ports) == (4, [], [])


def test_a_flow_that_cannot_start_ends_and_says_why(tmp_path: Path) -> None:
    """With an encoder that does not exist, jina flow ends with an error instead of asking its Executors for ever."""
    wrong = {"FINETUNER_ENCODER": "nosuch"}
    with (
        pytest.raises(RuntimeError, match="jina flow ended with 1"),
        running_flow(tmp_path, free_ports=True, environment=wrong),
    ):
        pytest.fail("it has started")
    log = " ".join((tmp_path / "flow.log").read_text().split())
    assert "encoder 'nosuch' is not known" in log


def test_only_this_machine_can_reach_a_flow(tmp_path: Path) -> None:
    """All ports listen on loopback, without a setting in the environment."""
    with running_flow(
        tmp_path, free_ports=True, environment={**TINY, "JINA_DEFAULT_HOST": "0.0.0.0"}
    ) as flow:
        listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        for port in flow.ports:
            (address,) = {
                line.split()[1]
                for line in listening.splitlines()
                if f":{port:04X} 0" in line and " 0A " in line
            }
            assert address.split(":")[0] in ("0100007F", "0000000000000000FFFF00000100007F")


def test_a_flow_may_speak_grpc_alone(tmp_path: Path) -> None:
    """Without HTTP beside it the gateway stays up and answers."""
    topology = on_free_ports(TUNE.read_text())
    (tmp_path / "grpc.yml").write_text(
        re.sub(r"port: \[(\d+), \d+\]", r"port: [\1]", topology.replace("[grpc, http]", "[grpc]"))
    )
    with running_flow(tmp_path / "workspace", topology=tmp_path / "grpc.yml", environment=TINY) as flow:
        assert [report.id for report in flow.client.post("/models")] == ["v0"]
        assert flow.stop() == 0
