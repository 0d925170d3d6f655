"""The image, built from the Dockerfile and run: what someone who deploys it relies on."""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from docarray import DocList

from executors.client import FlowClient
from executors.documents import ContentDocument, MatchDocument, Report, to_wire
from finetuner.documents import labelled
from finetuner.sources import emit

ROOT = Path(__file__).parents[2]
TUNER, DATA = "finetuner-e2e", "finetuner-e2e-match-data"
IMAGES = pytest.mark.parametrize("image", [TUNER, DATA])
START_SECONDS, GRACE_SECONDS = 90, 10


def docker(*arguments: str) -> str:
    """Return what a docker command prints; a failure shows what it said."""
    done = subprocess.run(["docker", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout.strip()


def wait_for(port: int, *, alive: Callable[[], bool], said: Callable[[], str]) -> None:
    """Wait until a gRPC server answers on a port of this machine, or fail with what its process said."""
    options = [("grpc.max_reconnect_backoff_ms", 300), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        ready = grpc.channel_ready_future(channel)
        for _ in range(START_SECONDS):
            try:
                return ready.result(timeout=1)
            except grpc.FutureTimeoutError:
                assert alive(), said()
    pytest.fail(f"nothing answers on port {port} after {START_SECONDS} s\n{said()}")


@pytest.fixture(scope="session")
def engine() -> None:
    """Skip, and say why, where no docker engine answers."""
    if shutil.which("docker") is None:
        pytest.skip("THE IMAGE IS NOT TESTED: there is no docker command on this machine")
    asked = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        pytest.skip(f"THE IMAGE IS NOT TESTED: no docker engine answers ({asked.stderr.strip()})")


@pytest.fixture(scope="session")
def images(engine: None) -> None:
    """Build the image under both tags."""
    # the index is taken from the environment, where it is set: one with the CPU build of torch saves gigabytes
    build = ("build", "--network", "host", "--build-arg", "PIP_EXTRA_INDEX_URL")
    docker(*build, "--tag", TUNER, ".")
    docker(*build, "--tag", DATA, "--build-arg", "CONFIG=executors/match_data.yml", ".")


@contextmanager
def running(image: str, *options: str) -> Iterator[tuple[str, FlowClient]]:
    """Run an image, wait until it answers, give its container's id and a client, and delete it in the end."""
    container = docker("run", "--detach", "--publish", "127.0.0.1::8080", *options, image)
    try:
        port = int(docker("port", container, "8080/tcp").rpartition(":")[2])
        wait_for(
            port,
            alive=lambda: docker("inspect", "--format", "{{.State.Running}}", container) == "true",
            said=lambda: docker("logs", container),
        )
        yield container, FlowClient(f"grpc://127.0.0.1:{port}")
    finally:
        docker("rm", "--force", "--volumes", container)


def pictures(count: int) -> DocList[ContentDocument]:
    """Return documents of 28 x 28 random pixels."""
    pixels = np.random.default_rng(0).random((count, 28, 28), np.float32)
    return DocList[ContentDocument](
        ContentDocument(id=f"image-{i}", blob=one) for i, one in enumerate(pixels)
    )


def match_documents() -> DocList[MatchDocument]:
    """Return one question with an answer that is judged right."""
    answer = ContentDocument(id="answer", text="by droplets", tags=labelled({}, 1))
    question = MatchDocument(
        id="question", text="how does it spread", matches=DocList[ContentDocument]([answer])
    )
    return DocList[MatchDocument]([question])


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def test_the_tuner_embeds_what_a_client_sends(images: None) -> None:
    """A container that is run without any option serves the base encoder."""
    with running(TUNER) as (_, client):
        embedded = client.post("/encode", pictures(3), answer=ContentDocument)
    assert [one.id for one in embedded] == ["image-0", "image-1", "image-2"]
    assert np.linalg.norm([one.embedding for one in embedded], axis=1) == pytest.approx(1, abs=1e-5)


def test_what_was_fed_outlives_the_container(images: None) -> None:
    """The data Executor keeps everything in the volume, so another container goes on with it."""
    volume = docker("volume", "create")
    try:
        with running(DATA, "--volume", f"{volume}:/workspace") as (_, client):
            client.post("/feed", match_documents(), collection="faq")
        with running(DATA, "--volume", f"{volume}:/workspace") as (_, client):
            asked = DocList[Report]([Report()])
            [question] = client.post("/matches", asked, answer=MatchDocument, collection="faq")
    finally:
        docker("volume", "rm", volume)
    assert question.text == "how does it spread"
    assert [match.text for match in question.matches] == ["by droplets"]


def stopped(container: str) -> tuple[str, float]:
    """Stop a container; return its exit code and the seconds that it took."""
    began = time.monotonic()
    docker("stop", "--time", str(GRACE_SECONDS), container)
    took = time.monotonic() - began
    return docker("inspect", "--format", "{{.State.ExitCode}}", container), took


@IMAGES
def test_docker_stop_is_obeyed(images: None, image: str) -> None:
    """As process 1 the Executor ends by itself on SIGTERM, with exit code 0 and long before it would be killed."""
    with running(image) as (container, _):
        code, took = stopped(container)
    assert code == "0"
    assert took < GRACE_SECONDS / 2


def test_docker_stop_is_obeyed_while_a_run_trains(images: None) -> None:
    """The training process neither delays the end of the container nor turns it into a failure."""
    learned = [to_wire(document) for document in emit("fashion_mnist", {"num_total": 20})]
    with running(TUNER) as (container, client):
        client.post("/fit", DocList[MatchDocument](learned), epochs=10_000)
        code, took = stopped(container)
    assert code == "0"
    assert took < GRACE_SECONDS / 2


@IMAGES
def test_the_image_knows_whether_it_is_healthy(images: None, image: str) -> None:
    """The check that the image carries agrees with a server that answers, and runs as an ordinary user."""
    [check] = json.loads(docker("inspect", "--format", "[{{json .Config.Healthcheck.Test}}]", image))
    with running(image) as (container, _):
        docker("exec", container, *check[1:])
        assert docker("exec", container, "id", "-u") != "0"


def test_any_user_may_run_it(images: None) -> None:
    """Clusters that give out user ids of their own can run the image too."""
    with running(TUNER, "--user", "4321:4321") as (_, client):
        assert len(client.post("/encode", pictures(1), answer=ContentDocument)) == 1


@contextmanager
def flow_of_images(folder: Path) -> Iterator[FlowClient]:
    """Run a Flow, as 'jina flow' does, of our gateway and both images, and stop it with Ctrl-C."""
    grpc_port, http_port, data_port, tuner_port = free_ports(4)
    # jina's own volume is a folder of whoever starts the Flow, which the image's user may not be able to write to
    in_image = {"disable_auto_volume": True}
    data = {"name": "match_data", "uses": f"docker://{DATA}", "port": data_port, **in_image}
    tuner = {"name": "finetuner", "uses": f"docker://{TUNER}", "port": tuner_port, **in_image}
    tuner["uses_with"] = {"match_data": f"grpc://127.0.0.1:{data_port}"}
    topology = {
        "jtype": "Flow",
        "with": {"protocol": ["grpc", "http"], "port": [grpc_port, http_port]},
        "gateway": {"uses": "FlowGateway", "py_modules": ["executors.gateway"]},
        "executors": [data, tuner],
    }
    (folder / "flow.yml").write_text(json.dumps(topology))  # JSON is YAML
    jina = str(Path(sys.executable).with_name("jina"))
    with (folder / "flow.log").open("wb") as log:
        flow = subprocess.Popen([jina, "flow", "--uses", str(folder / "flow.yml")], stdout=log, stderr=log)
        try:
            said = (folder / "flow.log").read_text
            wait_for(grpc_port, alive=lambda: flow.poll() is None, said=lambda: said()[-3000:])
            yield FlowClient(f"grpc://127.0.0.1:{grpc_port}")
        finally:
            flow.send_signal(signal.SIGINT)
            assert flow.wait(timeout=60) == 0


def test_a_flow_of_both_images_tunes_on_a_bundled_data_set(images: None, tmp_path: Path) -> None:
    """Both are docker:// Executors, the tuner reaches the data Executor, and a run trains inside the image."""

    async def events(client: FlowClient, run: str) -> list[str]:
        return [one.tags["event"] async for one in client.stream("/progress", answer=Report, run=run)]

    with flow_of_images(tmp_path) as client:
        [run] = client.post("/fit", collection="fashion_mnist", emit={"num_total": 100}, epochs=1)
        assert asyncio.run(events(client, run.id))[-1] == "succeeded"
        [one] = client.post("/encode", pictures(1), answer=ContentDocument)
        assert one.embedding is not None
