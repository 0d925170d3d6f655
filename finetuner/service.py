"""The tuning service: runs, versions and serving, put together. The Executors translate to and from it."""

import contextlib
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from finetuner.checksums import DocumentChecksum
from finetuner.contents import ContentRows
from finetuner.documents import ContentKind, DocumentLike
from finetuner.errors import ContentError, TrainingError
from finetuner.lifecycle import DamagedVersion, Decision, Policy, Registry, Version, decide
from finetuner.lifecycle.lock import hold
from finetuner.matches import MatchSet, MatchSetBuilder
from finetuner.models import Embeddings, EncoderSpec, build_encoder
from finetuner.serving import Engine, Served
from finetuner.settings import OperatorSettings, Options
from finetuner.training.compare import compare
from finetuner.training.options import TrainingOptions
from finetuner.training.run_folder import RunFolder
from finetuner.training.runs import Runs


class ServiceSettings(OperatorSettings):
    """What the operator decides."""

    encoder: str = Field(
        default="mlp",
        description="mlp, cnn, bilstm, a sentence-transformers folder, or package.module:factory.",
    )
    encoder_options: dict[str, Any] = Field(default_factory=dict, description="Arguments of the factory.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Draws the weights of a new base encoder.")
    batch_size: int = Field(default=64, ge=1, description="Contents in one forward pass of /encode at most.")
    match_data: str | None = Field(
        default=None, description="Address of the data Executor, grpc://HOST:PORT."
    )


class RunOptions(TrainingOptions):
    """Options of a run of the service: the training's, and what becomes of its result."""

    parent: str = Field(default="base", description="Version to start from: a name, or base, or active.")
    promote: Policy = Field(
        default="if_better", description="When the result becomes active: if_better, always or never."
    )


class JudgeOptions(Options):
    """What is judged, and what the labels mean."""

    version: str = Field(default="active", description="A version's name, or base, or active.")
    positive_label: float | None = Field(
        default=None, description="The label value that means positive; default: sign."
    )
    negative_label: float | None = Field(default=None, description="The label value that means negative.")


class TuningService:
    """One encoder with its versions, tuned in the background and served meanwhile.

    Args:
        folder: Where runs and versions live. One service at a time holds it, since a second one would take the
            runs of the first for left over.
        settings: What the operator decided.

    Raises:
        OptionError: If another service holds the folder.
        EncoderError: If the encoder cannot be built.
        DamagedVersionError: If the active version is not what was registered.
    """

    def __init__(self, folder: Path, settings: ServiceSettings) -> None:
        self.spec = EncoderSpec(settings.encoder, settings.encoder_options)
        with contextlib.ExitStack() as if_it_fails:
            self._hold = if_it_fails.enter_context(hold(folder))
            self._registry = Registry(folder)
            if self._registry.active is None:
                self._register_base(settings.seed)
            self._swap_lock = threading.Lock()
            self._engine = Engine(self._load("active"), batch_size=settings.batch_size)
            self._runs = Runs(folder / "runs", begin=self._begin, finish=self._finish)
            if_it_fails.pop_all()

    @property
    def version(self) -> str:
        """The version that serves now."""
        return self._engine.served.version

    @property
    def kind(self) -> ContentKind:
        """Which content the encoder takes: ``text`` or ``blob``."""
        return self._engine.served.encoder.kind

    # runs

    def create_run(self, options: RunOptions, run_id: str | None = None) -> tuple[RunFolder, bool]:
        """Write a new run that waits for its data; the same id again is the same run.

        Returns:
            The run, and whether it is new.

        Raises:
            OptionError: If the id is ill-formed.
            UnknownVersionError: If there is no such parent.
        """
        self._registry.get(options.parent)  # one that is not there is told at once
        task = {
            "options": options.dict(exclude={"parent", "promote"}),
            "promote": options.promote,
            "parent": options.parent,
            "encoder": self.spec.as_dict(),
            "versions": str(self._registry.folder),
        }
        return self._runs.create(task, run_id)

    def start_run(self, run: RunFolder, matches: MatchSet, snapshot: dict[str, Any]) -> None:
        """Give a run its data, and tell what exactly it is; it trains as soon as those before it are through."""
        run.report("data", snapshot)
        self._runs.start(run, matches)

    def fail_run(self, run: RunFolder, error: Exception) -> None:
        """End a run whose data could not be had."""
        self._runs.fail(run, error)

    def run(self, run_id: str) -> RunFolder:
        """Return a run, or raise UnknownRunError."""
        return self._runs.get(run_id)

    def runs(self) -> list[RunFolder]:
        """Return all runs, the oldest first."""
        return self._runs.list()

    def cancel(self, run_id: str) -> RunFolder:
        """End a run that is queued or running, or raise UnknownRunError."""
        return self._runs.cancel(run_id)

    def _begin(self, run: RunFolder) -> dict[str, Any]:
        """Return where a run starts and with what it is compared: what is active now, not when it was queued."""
        parent, base, active = (
            self._registry.get(name).name for name in (run.task()["parent"], "base", "active")
        )
        return {
            "parent_version": parent,
            "active_version": active,
            "rivals": list(dict.fromkeys((base, active))),
        }

    def _finish(self, run: RunFolder) -> dict[str, Any]:
        """Register the result of a run, and let the gate decide whether it serves from now on."""
        task = run.task()
        events = {event["event"]: event for event in run.events()}
        begun, evaluation = events["running"], events.get("evaluated")
        if evaluation is None:
            raise TrainingError(f"the training process ended without a result; see {run.path / 'log.txt'}")
        about = {
            "run": run.id,
            "parent": begun["parent_version"],
            "data": {name: value for name, value in events["data"].items() if name not in ("event", "time")},
            "options": task["options"],
            "evaluation": {
                name: evaluation[name] for name in ("anchors", "metrics", "gain", "seen_contents")
            },
        }
        with self._swap_lock:
            decision = self._decide(task["promote"], evaluation, rival=begun["active_version"])
            outcome = {"promoted": decision.promote, "reason": decision.reason}
            version = self._registry.register(run.candidate, self.spec, {**about, "gate": outcome})
            if decision.promote:
                self._activate(version)
        return {"version": version.name, **outcome}

    def _decide(self, policy: Policy, evaluation: dict[str, Any], *, rival: str) -> Decision:
        decision = decide(evaluation, policy, rival=rival)
        if decision.promote and policy == "if_better" and self.version != rival:
            return Decision(False, f"{self.version} became active while this was compared with {rival}")
        return decision

    # versions

    def models(self) -> list[dict[str, Any]]:
        """Return what is known of each version, the oldest first, and which one is active."""
        active = self._registry.active
        return [{**_told(version), "active": version.name == active} for version in self._registry.versions()]

    def promote(self, name: str) -> str:
        """Make a version active and serve it; return its name.

        Raises:
            UnknownVersionError: If there is none of that name.
            DamagedVersionError: If its files are not as registered; what served goes on.
        """
        with self._swap_lock:
            version = self._registry.get(name)
            if version.name != self.version:
                self._activate(version)
            return version.name

    def rollback(self) -> str:
        """Serve the version that was active before this one; return its name.

        Raises:
            UnknownVersionError: If there was none.
            DamagedVersionError: If its files are not as registered; what served goes on.
        """
        with self._swap_lock:
            served = self._load(self._registry.previous())
            self._registry.step_back()
            self._engine.swap(served)
            return served.version

    def _activate(self, version: Version) -> None:
        served = self._load(version.name)  # first: a version that cannot be loaded must not become active
        self._registry.activate(version.name)
        self._engine.swap(served)

    def _load(self, name: str) -> Served:
        version = self._registry.get(name)
        return Served(version.name, version.load(self.spec))

    def _register_base(self, seed: int) -> None:
        if not self._registry.versions():  # it is there if an earlier start was killed before activating it
            with tempfile.TemporaryDirectory() as folder:
                build_encoder(self.spec, seed=seed).save(Path(folder))
                self._registry.register(Path(folder), self.spec, {"parent": None, "run": None})
        self._registry.activate("v0")

    # serving

    def encode(self, documents: Sequence[DocumentLike]) -> tuple[Embeddings, str]:
        """Return the embeddings of documents, float32 (N, D) in their order, and the version that made them.

        Equal contents are embedded once.

        Raises:
            ContentError: If there is no document, or one has no fit content.
            EncoderError: If the encoder does not take such contents.
        """
        if not documents:
            raise ContentError("no document was given; at least one is needed")
        contents = ContentRows(self.kind, floats=self._engine.served.encoder.takes_floats)
        rows = [contents.add(document) for document in documents]
        embeddings, version = self._engine.embed(contents.finish()[0])
        return embeddings[rows], version

    def match_set(self, documents: Iterable[Any]) -> tuple[MatchSet, dict[str, Any]]:
        """Return match Documents as a match set with the content that the encoder takes, and their checksum."""
        builder, checksum = self.builder(), DocumentChecksum()
        for document in documents:
            builder.add(document)
            checksum.add(document)
        return builder.build(), {"collection": None, "checksum": checksum.hexdigest()}

    def builder(self) -> MatchSetBuilder:
        """Return a builder of a match set with the content that the encoder takes."""
        return MatchSetBuilder(self.kind, floats=self._engine.served.encoder.takes_floats)

    def evaluate(self, matches: MatchSet, options: JudgeOptions) -> dict[str, Any]:
        """Return how base, active and another version rank for the anchors of a match set.

        Args:
            matches: The match set.
            options: Which other version, whose gains over the two are told, and what its labels mean.

        Returns:
            See :func:`finetuner.training.compare.compare`.

        Raises:
            UnknownVersionError: If there is none of that name.
            LabelError: If a label is none of the two values.
        """
        matches = matches.with_values(options.positive_label, options.negative_label)
        base, active, wanted = (self._registry.get(name).name for name in ("base", "active", options.version))
        names = [name for name in dict.fromkeys((base, active)) if name != wanted]
        return compare({name: self._load(name).encoder for name in (*names, wanted)}, matches, seed=0)

    def close(self) -> None:
        """End the run that is training, if any, and let go of the folder."""
        self._runs.close()
        self._hold.close()


def _told(version: Version | DamagedVersion) -> dict[str, Any]:
    if isinstance(version, DamagedVersion):
        return {"version": version.name, "damaged": version.reason}
    return {name: value for name, value in version.about.items() if name != "files"}
