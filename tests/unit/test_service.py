"""The tuning service: runs, the gate, versions and serving, put together."""

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest
import torch

from finetuner import worker
from finetuner.documents import Document
from finetuner.errors import (
    ContentError,
    DamagedVersionError,
    EncoderError,
    MatchDataError,
    OptionError,
    ReplicaError,
    UnknownRunError,
    UnknownVersionError,
)
from finetuner.lifecycle import Live, Registry
from finetuner.matches import MatchSet
from finetuner.models import Embeddings, Encoder, build_encoder
from finetuner.reports.options import JudgeOptions
from finetuner.service import TuningService
from finetuner.service_settings import ServiceSettings
from finetuner.training.run_folder import FINAL, RunFolder
from finetuner.training.run_options import RunOptions
from finetuner.worker import carry_out
from tests.two_classes import SPEC, match_documents, points
from tests.waiting import until

SETTINGS = ServiceSettings(encoder=SPEC.name, encoder_options=dict(SPEC.options), batch_size=16)
QUICK: dict[str, Any] = {
    "epochs": 12,
    "batch_size": 32,
    "learning_rate": 0.02,
    "holdout": 0.3,
    "interpolate": [],
}
DOCUMENTS = match_documents(100)
FLIPPED = match_documents(100, label=lambda same: -1 if same else 1)
QUERIES = [Document(blob=blob) for blob in points(30, seed=9)]

Open = Callable[..., TuningService]


class InThread:
    """Takes the place of the training process: it trains in the thread that waits for it."""

    meanwhile: ClassVar[Callable[[], object]] = staticmethod(lambda: None)

    def __init__(self, command: list[str], **_: Any) -> None:
        self._run = RunFolder(Path(command[-1]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def kill(self) -> None:
        """Let it go on: it is short."""

    def wait(self) -> int:
        """Train, and return the exit code."""
        code = carry_out(self._run)
        InThread.meanwhile()
        return code


class Recorded(subprocess.Popen[bytes]):
    """A real training process whose id a test can learn."""

    last = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        Recorded.last = self.pid


def fit(service: TuningService, documents: list[Document], **options: Any) -> dict[str, Any]:
    """Return the summary of a run once it has ended."""
    run, new = service.tuning.create_run(RunOptions.parse({**QUICK, **options}, where="/fit"))
    assert new
    service.tuning.start_run(run, *service.encoding.match_set(documents))
    until(lambda: run.state() in FINAL)
    return run.summary()


@pytest.fixture(scope="module", autouse=True)
def bare_runs() -> Iterator[None]:
    """Let runs make neither maps nor reports, which no test here looks at, and which take longer than the training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "fit_maps", lambda *_, **__: {})
        patch.setattr(worker, "of_run", lambda *_, **__: True)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with a base v0 that serves, a better v1 and a v2 that learnt flipped labels."""
    folder = tmp_path_factory.mktemp("service")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", InThread)
        service = TuningService(folder, SETTINGS)
        for documents in (DOCUMENTS, FLIPPED):
            assert fit(service, documents, promote="never")["state"] == "succeeded"
        service.close()
        yield folder


@pytest.fixture
def start(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Return a starter of services in a copy of that folder, or in a new one; they are closed at the end."""
    monkeypatch.setattr(subprocess, "Popen", InThread)
    shutil.copytree(trained, tmp_path / "trained")
    opened: list[TuningService] = []

    def start(name: str = "trained", settings: ServiceSettings = SETTINGS) -> TuningService:
        opened.append(TuningService(tmp_path / name, settings))
        return opened[-1]

    yield start
    for service in opened:
        service.close()


def embeddings_of(folder: Path, version: str) -> Embeddings:
    """Return what a version makes of the queries."""
    return Registry(folder).get(version).load(SPEC).embed(points(30, seed=9), batch_size=16)


def names(service: TuningService) -> list[str]:
    """Return the names of all versions, the active one with a star."""
    return [model["version"] + "*" * model["active"] for model in service.versions.models()]


def weights_of(folder: Path, version: str) -> str:
    """Return the SHA-256 of a version's weights."""
    digest: str = Registry(folder).get(version).about["files"]["model.safetensors"]
    return digest


# starting


def test_the_first_start_registers_and_serves_a_base(start: Open) -> None:
    """A new folder has one version, drawn from the seed, which is active and serves at once."""
    service = start("new", SETTINGS.copy(update={"seed": 7}))
    embeddings, version = service.encoding.encode(QUERIES)
    assert (version, service.version, names(service)) == ("v0", "v0", ["v0*"])
    assert np.array_equal(embeddings, build_encoder(SPEC, seed=7).embed(points(30, seed=9), batch_size=16))


def test_a_restart_serves_the_active_version_bit_for_bit(start: Open) -> None:
    """What was promoted serves after a restart, with the very same embeddings; the seed plays no part then."""
    service = start()
    service.versions.promote("v1")
    before, _ = service.encoding.encode(QUERIES)
    service.close()
    restarted = start("trained", SETTINGS.copy(update={"seed": 5}))
    after, version = restarted.encoding.encode(QUERIES)
    assert (version, names(restarted)) == ("v1", ["v0", "v1*", "v2"])
    assert np.array_equal(before, after)


def test_a_start_that_was_killed_before_activating_is_taken_up(start: Open, tmp_path: Path) -> None:
    """The base that is registered already becomes active, and no second one is made."""
    start("new").close()
    (tmp_path / "new" / "active.json").unlink()
    assert names(start("new")) == ["v0*"]


def test_one_service_of_a_folder_trains_and_the_others_follow(start: Open) -> None:
    """A second service serves what the first one makes active, refuses what only that may do, and says who that is."""
    first, second = start(), start()
    assert (first.tuning.trains, second.tuning.trains) == (True, False)
    first.versions.promote("v1")
    until(lambda: second.version == "v1", seconds=1)
    assert np.array_equal(first.encoding.encode(QUERIES)[0], second.encoding.encode(QUERIES)[0])
    refused: list[Callable[[], object]] = [
        lambda: second.tuning.create_run(RunOptions()),
        lambda: second.tuning.cancel(first.tuning.runs()[0].id),
        lambda: second.versions.promote("v2"),
        second.versions.rollback,
        lambda: second.versions.keep("v2", True),
    ]
    for call in refused:
        with pytest.raises(ReplicaError, match=f":{os.getpid()} holds"):
            call()
    assert [one.version for one in (first, second)] == ["v1", "v1"]
    assert (second.tuning.runs(), second.tuning.run(first.tuning.runs()[0].id)) == (
        first.tuning.runs(),
        first.tuning.runs()[0],
    )


def test_where_the_registry_is_elsewhere_runs_are_told_by_the_service_that_trains(
    start: Open, tmp_path: Path
) -> None:
    """Each has a folder of its own for them, so another one knows nothing of them."""
    settings = SETTINGS.copy(update={"registry": str(tmp_path / "shared")})
    first, second = start("one", settings), start("two", settings)
    assert first.tuning.runs() == []
    for call in (second.tuning.runs, lambda: second.tuning.run("mine")):
        with pytest.raises(ReplicaError, match="ask that one"):
            call()


def test_a_service_that_follows_takes_over_once_the_first_has_ended(start: Open) -> None:
    """Then it trains and promotes as the first did, and what is active stays."""
    first, second = start(), start()
    first.versions.promote("v2")
    first.close()
    until(lambda: second.tuning.trains, seconds=2)
    assert second.version == "v2"
    assert fit(second, DOCUMENTS)["state"] == "succeeded"


def test_a_follower_goes_on_with_what_it_has_where_the_active_version_is_damaged(
    start: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, and serves the version as soon as it is whole again."""
    monkeypatch.setattr(Live, "RETRY_SECONDS", 0.05)
    first, second = start(), start()
    first.versions.promote("v1")
    card = tmp_path / "trained" / "versions" / "v2" / "card.md"
    told = card.read_text()
    until(lambda: second.version == "v1")
    card.write_text("")
    Registry.activate(first._registry, "v2")  # as if it had been spoiled on this machine alone
    until(lambda: "refused" in second.versions.models()[2])
    assert "not as registered: card.md" in second.versions.models()[2]["refused"]
    assert second.encoding.encode(QUERIES)[1] == "v1"
    with pytest.raises(DamagedVersionError, match="not as registered"):
        second.versions.promote("v2")  # it is active, and does not serve
    card.write_text(told)
    until(lambda: second.version == "v2")
    until(lambda: "refused" not in second.versions.models()[2])


def test_a_version_is_warmed_up_before_it_serves(start: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """It embeds what was asked for last before the first request reaches it, and not at all before a request came."""
    service = start()
    embedded: list[str] = []
    embed = Encoder.embed

    def noted(encoder: Encoder, contents: Any, **options: Any) -> Any:
        embedded.append(f"{len(contents)} by {service.version}")
        return embed(encoder, contents, **options)

    monkeypatch.setattr(Encoder, "embed", noted)
    service.versions.promote("v1")
    service.encoding.encode(QUERIES)
    service.versions.promote("v2")
    assert embedded == ["30 by v1", "1 by v1"]


def test_old_versions_are_deleted_but_not_those_that_are_of_use(start: Open, tmp_path: Path) -> None:
    """Base, active, the last one and the kept one stay; so does one that a run may yet start from."""
    service = start("trained", SETTINGS.copy(update={"keep_versions": 1}))
    service.versions.keep("v1", True)
    fit(service, DOCUMENTS, promote="never", epochs=1)
    until(lambda: names(service) == ["v0*", "v1", "v3"])
    service.tuning.create_run(RunOptions(parent="v3"), "waiting")
    service.versions.keep("v1", False)
    fit(service, DOCUMENTS, promote="never", epochs=1)
    until(lambda: names(service) == ["v0*", "v3", "v4"])
    service.tuning.cancel("waiting")
    fit(service, DOCUMENTS, promote="always", epochs=1)
    until(
        lambda: [one["version"] for one in service.versions.audit(100) if one["what"] == "deleted"]
        == ["v2", "v1"]
    )
    assert not list((tmp_path / "trained" / "versions").glob(".*"))


def test_the_audit_log_tells_who_changed_what(start: Open) -> None:
    """Runs by their id, and requests as they say they are, in their order."""
    service = start("new")
    summary = fit(service, DOCUMENTS)
    service.versions.rollback(by="Ada by /rollback")
    service.versions.promote("v1")
    told = [(one["what"], one["version"], one["by"], one.get("before")) for one in service.versions.audit(4)]
    run = f"run {summary['run']}"
    assert told == [
        ("registered", "v1", run, None),
        ("promoted", "v1", run, "v0"),
        ("rolled back", "v0", "Ada by /rollback", "v1"),
        ("promoted", "v1", "/promote", "v0"),
    ]
    assert [one["version"] for one in service.versions.audit(100)[:2]] == ["v0", "v0"]


def test_a_damaged_active_version_does_not_start(start: Open, tmp_path: Path) -> None:
    """Rather no service than one that serves something else; a start that failed lets go of the folder."""
    card = tmp_path / "trained" / "versions" / "v0" / "card.md"
    told = card.read_text()
    card.write_text("")
    with pytest.raises(DamagedVersionError, match=r"not as registered: card\.md"):
        start()
    card.write_text(told)
    assert start().version == "v0"


def test_another_encoder_does_not_start_in_the_folder(start: Open) -> None:
    """Versions of one encoder do not serve under the settings of another one."""
    other = SETTINGS.copy(update={"encoder_options": {**SPEC.options, "dim": 5}})
    with pytest.raises(DamagedVersionError, match="start with that encoder, or in another workspace"):
        start("trained", other)


# serving


def test_documents_come_back_in_order_and_equal_ones_are_embedded_once(start: Open) -> None:
    """Seven documents of three contents take one forward pass of three rows."""
    service = start()
    order = [2, 0, 0, 1, 2, 0, 1]
    rows: list[int] = []
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, inputs: rows.append(len(inputs[0])) if isinstance(module, torch.nn.Dropout) else None
    )
    embeddings, _ = service.encoding.encode([QUERIES[at] for at in order])
    hook.remove()
    assert rows == [3]
    assert np.allclose(embeddings, service.encoding.encode(QUERIES[:3])[0][order], atol=1e-6)
    assert np.array_equal(embeddings[1], embeddings[2])


@pytest.mark.parametrize(
    ("documents", "error", "fault"),
    [
        ([], ContentError, "at least one is needed"),
        ([Document(id="d1", text="a")], ContentError, r"'d1' has no \.blob"),
        ([*QUERIES[:2], Document(id="d2", blob=np.ones(5))], ContentError, "'d2': .*all must be alike"),
        ([Document(id="d3", blob=np.ones(5))], EncoderError, "does not take"),
    ],
)
def test_documents_that_cannot_be_embedded_are_refused(
    start: Open, documents: list[Document], error: type[Exception], fault: str
) -> None:
    """The request has a typed error, and the next one is served."""
    service = start()
    with pytest.raises(error, match=fault):
        service.encoding.encode(documents)
    assert service.encoding.encode(QUERIES)[1] == "v0"


def test_no_answer_is_made_of_two_versions(start: Open, tmp_path: Path) -> None:
    """While versions are promoted and rolled back, each answer is bit for bit of the version it names."""
    service = start()
    expected = {version: embeddings_of(tmp_path / "trained", version) for version in ("v0", "v1", "v2")}
    over = threading.Event()

    def ask() -> list[tuple[str, bool]]:
        answers = []
        while not over.is_set():
            embeddings, version = service.encoding.encode(QUERIES)
            answers.append((version, np.array_equal(embeddings, expected[version])))
        return answers

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        for _ in range(8):
            assert [service.versions.promote("v1"), service.versions.promote("v2")] == ["v1", "v2"]
            assert [service.versions.rollback(), service.versions.rollback()] == ["v1", "v0"]
        over.set()
    answers = {answer for asked in asking for answer in asked.result()}
    assert len(answers) > 1
    assert all(right for _, right in answers)


# runs and the gate


def spoiled() -> list[Document]:
    """Return match data whose labels are flipped, but for the anchors that a run holds out to judge its result."""
    held_out = MatchSet.from_documents(DOCUMENTS).split(QUICK["holdout"], seed=0)[1]
    judges = {held_out.ids[row] for row in held_out.anchors}
    return [right if right.id in judges else wrong for right, wrong in zip(DOCUMENTS, FLIPPED, strict=True)]


def test_a_better_run_is_promoted_and_serves(start: Open, tmp_path: Path) -> None:
    """From match Documents to embeddings of the new version, with the evaluation kept beside it."""
    service = start("new")
    summary = fit(service, DOCUMENTS)
    assert (summary["state"], summary["version"], summary["promoted"]) == ("succeeded", "v1", True)
    assert summary["reason"].startswith("better than the active version: MAP on ")
    embeddings, version = service.encoding.encode(QUERIES)
    assert (version, names(service)) == ("v1", ["v0", "v1*"])
    assert np.array_equal(embeddings, embeddings_of(tmp_path / "new", "v1"))
    told = service.versions.models()[1]
    assert (told["run"], told["parent"], told["gate"]["promoted"]) == (summary["run"], "v0", True)
    assert told["evaluation"]["gain"] == summary["evaluated"]["gain"]
    assert list(told["evaluation"]["metrics"]) == ["v0", "candidate"]
    assert "files" not in told


@pytest.mark.parametrize(
    ("promote", "promoted", "reason"),
    [
        ("if_better", False, "worse than the active version"),
        ("always", True, "the run was told to promote in any case"),
        ("never", False, "the run was told never to promote"),
    ],
)
def test_a_spoiled_run_serves_only_if_it_was_told_to(
    start: Open, promote: str, promoted: bool, reason: str
) -> None:
    """The gate sees on held-out anchors what flipped labels did; only ``always`` overrules it."""
    service = start()
    service.versions.promote("v1")
    summary = fit(service, spoiled(), promote=promote, parent="active")
    assert (summary["state"], summary["version"], summary["promoted"]) == ("succeeded", "v3", promoted)
    assert summary["reason"].startswith(reason)
    assert service.version == ("v3" if promoted else "v1")
    assert list(summary["evaluated"]["metrics"]) == ["v0", "v1", "candidate"]
    assert service.versions.models()[3]["parent"] == "v1"


def test_a_run_is_not_promoted_over_a_version_it_was_not_compared_with(
    start: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If another version became active while it trained, its comparison says nothing; the record says so, too."""
    service = start()
    monkeypatch.setattr(InThread, "meanwhile", lambda: service.versions.promote("v2"))
    summary = fit(service, DOCUMENTS, seed=3)
    reason = "v2 became active while this was compared with v0"
    assert (summary["promoted"], summary["reason"], service.version) == (False, reason, "v2")
    assert service.versions.models()[3]["gate"] == {"promoted": False, "reason": reason}


def test_a_queued_run_is_compared_with_what_is_active_when_it_begins(
    start: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two runs that were asked for at once, the second starts from and is judged against what the first made."""
    service = start()
    started = threading.Event()
    monkeypatch.setattr(InThread, "meanwhile", lambda: started.wait(60))
    options: dict[str, dict[str, Any]] = {
        "first": {"promote": "always"},
        "second": {"parent": "active", "seed": 3},
    }
    runs = []
    for name, own in options.items():
        run, _ = service.tuning.create_run(RunOptions.parse({**QUICK, **own}, where="/fit"), name)
        service.tuning.start_run(run, *service.encoding.match_set(DOCUMENTS))
        runs.append(run)
    started.set()
    until(lambda: runs[1].state() in FINAL)
    first, second = (run.summary() for run in runs)
    assert (first["active_version"], first["promoted"], first["version"]) == ("v0", True, "v3")
    assert (second["active_version"], second["parent_version"]) == ("v3", "v3")
    assert "became active while" not in second["reason"]


def test_always_promotes_over_whatever_is_active(start: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says always means it, also if another version became active meanwhile."""
    service = start()
    monkeypatch.setattr(InThread, "meanwhile", lambda: service.versions.promote("v2"))
    assert fit(service, DOCUMENTS, promote="always")["promoted"]
    assert service.version == "v3"


def test_a_result_that_is_gone_is_not_registered(start: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose weights are gone has failed, and what serves goes on."""
    service = start()
    monkeypatch.setattr(InThread, "meanwhile", lambda: shutil.rmtree(service.tuning.runs()[-1].candidate))
    summary = fit(service, DOCUMENTS)
    assert summary["state"] == "failed"
    assert (service.encoding.encode(QUERIES)[1], names(service)) == ("v0", ["v0*", "v1", "v2"])


def test_a_run_with_nothing_to_learn_fails_with_the_reason(start: Open) -> None:
    """The error of the training is the reason, in its own class."""
    service = start()
    summary = fit(service, match_documents(10, label=lambda same: -1))
    assert summary["state"] == "failed"
    assert summary["reason"].startswith("NothingToLearnError: none of the 60 judgements is positive")


def test_a_run_is_found_by_its_name_and_can_be_ended(start: Open) -> None:
    """Asking again gives the same run; one that waits for its data can be cancelled or fail."""
    service = start()
    first, new = service.tuning.create_run(RunOptions(), "mine")
    again, renewed = service.tuning.create_run(RunOptions(), "mine")
    for other_options in (RunOptions(epochs=3), RunOptions(max_seconds=60)):
        with pytest.raises(OptionError, match="'mine' was started with other options"):
            service.tuning.create_run(other_options, "mine")
    other, _ = service.tuning.create_run(RunOptions(), "other")
    assert (first, new, renewed) == (again, True, False)
    assert service.tuning.run("mine") == first
    assert [run.id for run in service.tuning.runs()][2:] == ["mine", "other"]
    assert service.tuning.cancel("mine").state() == "cancelled"
    service.tuning.fail_run(other, MatchDataError("no data"))
    assert (other.state(), other.summary()["reason"]) == ("failed", "MatchDataError: no data")
    with pytest.raises(UnknownRunError, match="there is no run 'theirs'"):
        service.tuning.run("theirs")


@pytest.mark.parametrize(
    "options", [{"promote": "sometimes"}, {"epochs": 1.5}, {"gate": "never"}, {"max_seconds": 0}]
)
def test_the_options_of_a_run_are_checked(options: dict[str, Any]) -> None:
    """Those of the gate as those of the training."""
    with pytest.raises(OptionError, match=f"/fit: .*{next(iter(options))}"):
        RunOptions.parse(options, where="/fit")


def test_an_unknown_parent_is_refused_before_a_run_exists(start: Open) -> None:
    """Nothing is left behind that could be asked for."""
    service = start()
    with pytest.raises(UnknownVersionError, match="there is no version 'v9'; known are v0, v1, v2"):
        service.tuning.create_run(RunOptions(parent="v9"), "mine")
    assert [run.id for run in service.tuning.runs() if run.id == "mine"] == []


def test_a_killed_training_is_a_failed_run_and_serving_goes_on(
    start: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL takes the process alone: the reason names the signal, and embeddings stay as they were."""
    monkeypatch.setattr(subprocess, "Popen", Recorded)
    service = start()
    before, _ = service.encoding.encode(QUERIES)
    run, _ = service.tuning.create_run(RunOptions(epochs=10_000))
    service.tuning.start_run(run, *service.encoding.match_set(DOCUMENTS))
    until(lambda: Recorded.last)
    os.kill(Recorded.last, signal.SIGKILL)
    until(lambda: run.state() in FINAL)
    assert (run.state(), "by signal SIGKILL" in run.summary()["reason"]) == ("failed", True)
    after, version = service.encoding.encode(QUERIES)
    assert (version, np.array_equal(before, after)) == ("v0", True)


def taken_up_again(service: TuningService, name: str) -> RunFolder:
    """Return a run that has succeeded, as if its service had died before it could say so."""
    run = service.tuning.run(name)
    told = [line for line in (run.path / "events.jsonl").read_text().splitlines() if "succeeded" not in line]
    (run.path / "events.jsonl").write_text("\n".join(told) + "\n")
    run.keep_data(service.encoding.match_set(DOCUMENTS)[0])
    return run


def test_a_rollback_is_not_taken_back_by_a_run_that_is_taken_up(start: Open) -> None:
    """A version that was promoted once and left since then stays left, though its run has to say its end again."""
    service = start("new")
    summary = fit(service, DOCUMENTS)
    service.versions.rollback()
    service.close()
    run = taken_up_again(service, summary["run"])
    restarted = start("new")
    until(lambda: run.state() in FINAL)
    assert (run.state(), names(restarted)) == ("succeeded", ["v0*", "v1"])


def test_a_run_whose_service_died_while_registering_is_registered_once(start: Open) -> None:
    """After the restart it is taken up, and the version that is there already is its result; so is the gate's word."""
    service = start("new")
    summary = fit(service, DOCUMENTS)
    assert (summary["version"], names(service)) == ("v1", ["v0", "v1*"])
    pointer, audit = (service._registry.folder.parent / name for name in ("active.json", "audit.jsonl"))
    service.close()
    # as if the service had died before it activated the version
    pointer.write_text(json.dumps({"version": "v0", "before": []}))
    lines = audit.read_text().splitlines(keepends=True)
    audit.write_text("".join(line for line in lines if '"what": "promoted", "version": "v1"' not in line))
    assert len(audit.read_text().splitlines()) == len(lines) - 1
    run = taken_up_again(service, summary["run"])
    restarted = start("new")
    until(lambda: run.state() in FINAL)
    again = run.summary()
    assert (again["state"], again["version"], again["promoted"]) == ("succeeded", "v1", True)
    assert again["evaluated"] == summary["evaluated"]
    assert names(restarted) == ["v0", "v1*"]


def test_a_run_of_the_same_name_is_another_run(start: Open) -> None:
    """Where the folder of one that succeeded was deleted, its name may be used again, and makes a version of its own."""
    service = start("new")
    for version in ("v1", "v2"):
        run, new = service.tuning.create_run(RunOptions.parse({**QUICK, "epochs": 1}, where="/fit"), "mine")
        assert new
        service.tuning.start_run(run, *service.encoding.match_set(DOCUMENTS))
        until(lambda run=run: run.state() in FINAL)  # type: ignore[misc]
        assert run.summary()["version"] == version
        until(lambda run=run: not run.data.exists())  # type: ignore[misc]
        shutil.rmtree(run.path)


def test_a_run_that_failed_is_resumed(start: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What made it fail is gone, and it ends as one that never failed, with the same weights."""
    service = start("new")
    straight = fit(service, DOCUMENTS, promote="never")
    monkeypatch.setattr(InThread, "meanwhile", lambda: shutil.rmtree(service.tuning.runs()[-1].candidate))
    failed = fit(service, DOCUMENTS, promote="never")
    monkeypatch.setattr(InThread, "meanwhile", lambda: None)
    run = service.tuning.resume(failed["run"])
    until(lambda: run.state() == "succeeded")
    assert (failed["state"], run.summary()["version"]) == ("failed", "v2")
    assert weights_of(tmp_path / "new", "v2") == weights_of(tmp_path / "new", straight["version"])
    assert [event["event"] for event in run.events()].count("epoch") == QUICK["epochs"]


@pytest.mark.parametrize("most_bytes", [0, 10**6])
def test_what_frozen_encoders_made_is_kept_as_the_operator_says(
    start: Open, tmp_path: Path, most_bytes: int
) -> None:
    """In the workspace for the next runs, or, at 0, with the run that needed it and no longer."""
    service = start("new", SETTINGS.copy(update={"feature_cache_bytes": most_bytes}))
    summary = fit(service, DOCUMENTS, recipe="adapter", epochs=1)
    assert summary["state"] == "succeeded"
    assert any((tmp_path / "new" / "features").rglob("*.*")) == bool(most_bytes)
    until(lambda: not service.tuning.run(summary["run"]).features.exists())


# versions


def test_versions_are_promoted_and_rolled_back(start: Open, tmp_path: Path) -> None:
    """Each step serves the version's own embeddings; before the first one there is nothing."""
    service = start()
    for version in ("v1", "v2", "v2"):  # to promote what is active changes nothing
        assert service.versions.promote(version) == version
    for version in ("v1", "v0"):
        assert service.versions.rollback() == version
        assert np.array_equal(
            service.encoding.encode(QUERIES)[0], embeddings_of(tmp_path / "trained", version)
        )
    with pytest.raises(UnknownVersionError, match="nothing to roll back to"):
        service.versions.rollback()
    assert (service.version, names(service)) == ("v0", ["v0*", "v1", "v2"])
    assert service.versions.promote("base") == "v0"


def test_a_damaged_version_is_not_promoted(start: Open, tmp_path: Path) -> None:
    """The error names the file; what served goes on, now and after a restart, and nothing is to roll back."""
    service = start()
    with (tmp_path / "trained" / "versions" / "v1" / "model.safetensors").open("ab") as file:
        file.write(b"!")
    with pytest.raises(DamagedVersionError, match=r"v1: not as registered: model\.safetensors"):
        service.versions.promote("v1")
    assert (service.encoding.encode(QUERIES)[1], names(service)) == ("v0", ["v0*", "v1", "v2"])
    with pytest.raises(UnknownVersionError):
        service.versions.rollback()
    service.close()
    assert start().version == "v0"


def test_a_damaged_version_is_not_rolled_back_to(start: Open, tmp_path: Path) -> None:
    """Trying it keeps the active version and the way back."""
    service = start()
    service.versions.promote("v1")
    service.versions.promote("v2")
    damaged = tmp_path / "trained" / "versions" / "v1" / "card.md"
    card = damaged.read_text()
    damaged.write_text("")
    with pytest.raises(DamagedVersionError, match="v1: not as registered"):
        service.versions.rollback()
    assert (service.encoding.encode(QUERIES)[1], names(service)) == ("v2", ["v0", "v1", "v2*"])
    damaged.write_text(card)
    assert service.versions.rollback() == "v1"


@pytest.mark.parametrize(
    ("version", "ranked"),
    [("active", ["v0", "v1"]), ("v2", ["v0", "v1", "v2"]), ("base", ["v1", "v0"]), ("v1", ["v0", "v1"])],
)
def test_a_version_is_evaluated_beside_base_and_active(start: Open, version: str, ranked: list[str]) -> None:
    """The gains are those of the version that was asked for over the others, whichever it is."""
    service = start()
    service.versions.promote("v1")
    found = service.judging.evaluate(
        service.encoding.match_set(match_documents(40, seed=5))[0], JudgeOptions(version=version)
    )
    assert list(found["metrics"]) == ranked
    for other in ranked[:-1]:
        gain = found["metrics"][ranked[-1]]["map"] - found["metrics"][other]["map"]
        assert found["gain"][other][0] == pytest.approx(gain, abs=1e-12)


def test_an_evaluation_knows_the_users_own_label_values(start: Open) -> None:
    """With 0 for negative it finds what it finds with -1."""
    service = start()
    zeros = match_documents(40, seed=5, label=lambda same: 1 if same else 0)
    found = service.judging.evaluate(
        service.encoding.match_set(zeros)[0], JudgeOptions(positive_label=1, negative_label=0)
    )
    assert found == service.judging.evaluate(
        service.encoding.match_set(match_documents(40, seed=5))[0], JudgeOptions()
    )


def test_an_unknown_version_is_not_evaluated(start: Open) -> None:
    """Its name is the error."""
    service = start()
    with pytest.raises(UnknownVersionError, match="there is no version 'v9'"):
        service.judging.evaluate(service.encoding.match_set(DOCUMENTS)[0], JudgeOptions(version="v9"))
    assert JudgeOptions().version == "active"
