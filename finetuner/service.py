"""The tuning service: runs, versions and serving, put together. The Executors translate to and from it."""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from finetuner.checksums import DocumentChecksum
from finetuner.contents import ContentRows
from finetuner.documents import ContentKind, DocumentLike
from finetuner.errors import ContentError, ReplicaError
from finetuner.features import FeatureCache
from finetuner.lifecycle import Decision, Live, Version, decide, open_registry, unless_overtaken
from finetuner.lifecycle.audit import was_promoted
from finetuner.lifecycle.live import begin
from finetuner.lifecycle.store import Entry
from finetuner.lifecycle.watch import Watch
from finetuner.matches import MatchSet, MatchSetBuilder
from finetuner.models import Embeddings, EncoderSpec, Side
from finetuner.service_settings import ServiceSettings
from finetuner.training.compare import compare
from finetuner.training.listing import run_in, runs_in
from finetuner.training.needed import needed_versions
from finetuner.training.outcome import Outcome
from finetuner.training.run_folder import RunFolder
from finetuner.training.run_options import JudgeOptions, RunOptions
from finetuner.training.runs import Runs


class TuningService:
    """One encoder with its versions, tuned in the background and served meanwhile.

    Of several services that share a registry one holds it: it trains and changes what is active. The others follow within
    a second, and one of them takes over when the first has ended.

    Args:
        folder: Where runs live, and versions unless the settings name a registry.
        settings: What the operator decided.

    Raises:
        OptionError: If the registry is of a kind for which nothing is installed.
        EncoderError: If the encoder cannot be built.
        DamagedVersionError: If the active version is not what was registered.
        RegistryError: If the registry cannot be reached.
    """

    def __init__(self, folder: Path, settings: ServiceSettings) -> None:
        self.spec = EncoderSpec(settings.encoder, settings.encoder_options)
        self._folder = folder
        self._settings = settings
        self._runs: Runs | None = None
        most_bytes = settings.feature_cache_bytes
        self._features = {"features": str(folder / "features"), "feature_cache_bytes": most_bytes}
        self._cache = FeatureCache(folder / "features", most_bytes=most_bytes) if most_bytes else None
        self._registry = open_registry(settings.registry, folder)
        with contextlib.ExitStack() as if_it_fails:
            if_it_fails.callback(self._registry.release)
            begin(self._registry, self.spec, seed=settings.seed)
            self._live = Live(self._registry, self.spec, batch_size=settings.batch_size)
            self._watch = Watch(
                self._registry,
                self._live,
                take_over=self._take_over,
                step_down=self._step_down,
                tidy=self._retire,
            )
            self._watch.start()
            if_it_fails.pop_all()

    def _take_over(self) -> None:
        keep = self._settings.keep_runs
        self._runs = Runs(self._folder / "runs", begin=self._begin, finish=self._finish, keep=keep)

    def _step_down(self) -> None:
        runs, self._runs = self._runs, None
        if runs is not None:
            runs.close()

    @property
    def trains(self) -> bool:
        """Whether this service is the one that trains, of those that share the registry."""
        return self._runs is not None

    def _tuner(self) -> Runs:
        runs = self._runs
        if runs is None:
            raise ReplicaError(
                f"this service follows registry {self._registry.store.where}, which {self._registry.holder} holds: runs "
                "are started and told there; ask that one. This one takes over once that has ended"
            )
        return runs

    @property
    def version(self) -> str:
        """The version that serves now."""
        return self._live.version

    @property
    def kind(self) -> ContentKind:
        """Which content the encoder takes: ``text`` or ``blob``."""
        return self._live.encoder.kind

    # runs

    def create_run(self, options: RunOptions, run_id: str | None = None) -> tuple[RunFolder, bool]:
        """Write a new run that waits for its data; the same id again is the same run.

        Returns:
            The run, and whether it is new.

        Raises:
            OptionError: If the id is ill-formed.
            UnknownVersionError: If there is no such parent.
            ReplicaError: If another service trains.
        """
        runs = self._tuner()
        self._registry.get(options.parent)  # one that is not there is told at once
        task = {
            **options.as_task(),
            "encoder": self.spec.as_dict(),
            "versions": str(self._registry.folder),
            **self._features,
        }
        return runs.create(task, run_id)

    def start_run(self, run: RunFolder, matches: MatchSet, snapshot: dict[str, Any]) -> None:
        """Give a run its data, and tell what exactly it is; it trains as soon as those before it are through."""
        self._tuner().start(run, matches, snapshot)

    def fail_run(self, run: RunFolder, error: Exception) -> None:
        """End a run whose data could not be had."""
        self._tuner().fail(run, error)

    def run(self, run_id: str) -> RunFolder:
        """Return a run.

        Raises:
            UnknownRunError: If there is none of that id.
            ReplicaError: If another service trains, and keeps its runs elsewhere.
        """
        return run_in(self._known_runs(), run_id)

    def runs(self) -> list[RunFolder]:
        """Return all runs, the oldest first, or raise ReplicaError if another service keeps them elsewhere."""
        return runs_in(self._known_runs())

    def _known_runs(self) -> Path:
        if self._settings.registry is not None:
            self._tuner()
        return self._folder / "runs"

    def cancel(self, run_id: str) -> RunFolder:
        """End a run that is queued or running, or raise UnknownRunError."""
        return self._tuner().cancel(run_id)

    def resume(self, run_id: str) -> RunFolder:
        """Let a run that failed or was cancelled go on where it was.

        Raises:
            UnknownRunError: If there is none of that id.
            TrainingError: If it has not ended, has succeeded, or what it needs is no longer there.
        """
        return self._tuner().resume(run_id)

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
        outcome, policy = Outcome.of(run), run.task()["promote"]
        with self._live.swapping:
            # there is one already if the service died before it could say so
            versions = (one for one in self._registry.versions() if isinstance(one, Version))
            version = next((one for one in versions if outcome.is_of(one.about)), None)
            if version is not None and was_promoted(version.name, self._registry.store.entries()):
                return {
                    "version": version.name,
                    **version.about["gate"],
                }  # who has gone back since then meant it
            if version is None:
                decision = decide(outcome.evaluation, policy, rival=outcome.rival)
            else:
                decision = Decision(version.about["gate"]["promoted"], version.about["gate"]["reason"])
            decision = unless_overtaken(decision, policy, rival=outcome.rival, active=self.version)
            gate = {"promoted": decision.promote, "reason": decision.reason}
            if version is None:
                about = {**outcome.about, "gate": gate}
                version = self._registry.register(run.candidate, self.spec, about, by=f"run {run.id}")
            if decision.promote:
                self._live.promote(version.name, by=f"run {run.id}", why=decision.reason)
        self._watch.tidy_soon()
        return {"version": version.name, **gate}

    # versions

    def models(self) -> list[dict[str, Any]]:
        """Return what is known of each version, the oldest first, and which one is active.

        ``refused``, at the active one, tells why it does not serve here; ``trouble``, what is wrong with the registry.
        """
        trouble = {"trouble": self._watch.trouble} if self._watch.trouble else {}
        return [{**one, **(trouble if one["active"] else {})} for one in self._live.models()]

    def audit(self, last: int) -> list[Entry]:
        """Return the last entries of the audit log, the oldest first: who changed what, and when."""
        return self._registry.store.entries()[-last:]

    def promote(self, name: str, *, by: str = "/promote") -> str:
        """Make a version active and serve it; return its name. Raises as :meth:`Live.promote`."""
        return self._live.promote(name, by=by)

    def rollback(self, *, by: str = "/rollback") -> str:
        """Serve the version that was active before this one; return its name. Raises as :meth:`Live.rollback`."""
        return self._live.rollback(by=by)

    def keep(self, name: str, kept: bool, *, by: str = "/keep") -> str:
        """Have a version kept for good, or no longer; return its name.

        Raises:
            UnknownVersionError: If there is none of that name.
            ReplicaError: If another service holds the registry.
        """
        version = self._registry.get(name).name
        self._registry.keep(version, kept, by=by)
        return version

    def _retire(self) -> None:
        """Delete the versions that are no longer kept; those that a run may yet start from are."""
        self._registry.retire(self._settings.keep_versions, needed_versions(self.runs()))

    # serving

    def encode(self, documents: Sequence[DocumentLike], side: Side = "document") -> tuple[Embeddings, str]:
        """Return the embeddings of documents, float32 (N, D) in their order, and the version that made them.

        Equal contents are embedded once.

        Args:
            documents: N documents.
            side: What they are embedded as; it matters where a version adapts queries alone.

        Raises:
            ContentError: If there is no document, or one has no fit content.
            EncoderError: If the encoder does not take such contents.
        """
        if not documents:
            raise ContentError("no document was given; at least one is needed")
        contents = ContentRows(self.kind, floats=self._live.encoder.takes_floats)
        rows = [contents.add(document) for document in documents]
        embeddings, version = self._live.embed(contents.finish()[0], side)
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
        return MatchSetBuilder(self.kind, floats=self._live.encoder.takes_floats)

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
        encoders = {name: self._registry.load(name, self.spec) for name in (*names, wanted)}
        return compare(encoders, matches, seed=0, cache=self._cache)

    def close(self) -> None:
        """Stop the run that is training, if any: it goes on at the next start; and let go of the registry."""
        self._watch.close()
        if self._runs is not None:
            self._runs.close()
        self._registry.release()
