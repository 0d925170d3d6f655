"""Runs of the service: what they start from, and what becomes of their results."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetuner.continual.due import Earlier, last_of, position_of
from finetuner.continual.options import ContinualOptions
from finetuner.continual.since import Since
from finetuner.errors import ReplicaError
from finetuner.lifecycle import (
    Decision,
    Gate,
    Live,
    Registry,
    Version,
    decide,
    unless_known,
    unless_overtaken,
)
from finetuner.lifecycle.audit import was_promoted
from finetuner.matches import MatchSet
from finetuner.models import EncoderSpec
from finetuner.service_settings import ServiceSettings
from finetuner.training.listing import run_in, runs_in
from finetuner.training.outcome import Outcome
from finetuner.training.run_folder import FINAL, RunFolder, state_after
from finetuner.training.run_options import RunOptions
from finetuner.training.runs import Guard, Runs


class Tuning:
    """The runs of a service. They train where the service holds the registry, and are looked at elsewhere.

    Args:
        folder: Where they live, and the feature cache.
        settings: What the operator decided.
        spec: The encoder.
        registry: Its versions.
        live: The version that serves.
        registered: Called when a version has come to the registry.
    """

    def __init__(
        self,
        folder: Path,
        settings: ServiceSettings,
        spec: EncoderSpec,
        registry: Registry,
        live: Live,
        *,
        registered: Callable[[], None],
    ) -> None:
        self._folder = folder / "runs"
        self._keep = settings.keep_runs
        self._guards = settings.guards
        self._shared = settings.registry is not None
        self._spec = spec
        self._registry = registry
        self._live = live
        self._registered = registered
        self._runs: Runs | None = None
        most_bytes = settings.feature_cache_bytes
        self._features = {"features": str(folder / "features"), "feature_cache_bytes": most_bytes}

    def take_over(self) -> None:
        """Train from now on; runs that were left queued or running go on."""
        self._runs = Runs(self._folder, begin=self._begin, finish=self._finish, keep=self._keep)

    def step_down(self) -> None:
        """Train no longer: a run that is training goes on when somebody takes over."""
        runs, self._runs = self._runs, None
        if runs is not None:
            runs.close()

    @property
    def trains(self) -> bool:
        """Whether this service is the one that trains, of those that share the registry."""
        return self._runs is not None

    def _held(self) -> Runs:
        runs = self._runs
        if runs is None:
            raise ReplicaError(
                f"this service follows registry {self._registry.store.where}, which {self._registry.holder} holds: runs "
                "are started and told there; ask that one. This one takes over once that has ended"
            )
        return runs

    def create_run(
        self, options: RunOptions, run_id: str | None = None, continual: ContinualOptions | None = None
    ) -> tuple[RunFolder, bool]:
        """Write a new run that waits for its data; the same id again is the same run.

        Its task names its guards, those of the operator among them.

        Returns:
            The run, and whether it is new.

        Raises:
            OptionError: If the id is ill-formed, or that of a run with other options.
            UnknownVersionError: If there is no such parent.
            ReplicaError: If another service trains.
        """
        runs = self._held()
        self._registry.get(options.parent)  # one that is not there is told at once
        asked = continual or ContinualOptions()
        task = {
            **options.as_task(),
            **asked.copy(update={"guards": self.guards(asked)}).as_task(),
            "encoder": self._spec.as_dict(),
            "versions": str(self._registry.folder),
            **self._features,
        }
        return runs.create(task, run_id)

    def guards(self, asked: ContinualOptions) -> list[str]:
        """Return the collections that a run must not make worse: those asked for, then those of the operator."""
        return list(dict.fromkeys([*asked.guards, *self._guards]))

    def since(self, asked: str, collection: str) -> Since:
        """Return since when a run is to learn what is new in a collection.

        Args:
            asked: A version's name, base, active, or a position.
            collection: The collection.

        Raises:
            UnknownVersionError: If there is no such version.
            OptionError: If it did not learn from that collection.
        """
        if asked.isdecimal():
            return Since(int(asked))
        version = self._registry.get(asked)
        return Since.of_version(version.name, version.about, collection)

    def last_automatic(self, collection: str) -> Earlier | None:
        """Return the run that was last started by itself on a collection; of those kept elsewhere, that made a version."""
        versions = (one.about for one in self._registry.versions() if isinstance(one, Version))
        found = {about["run"]: Earlier(0, about["run_began"]) for about in versions if about.get("run_began")}
        for run in self.runs():
            if position_of(run.id, collection) is not None:
                events = run.events()
                time = events[0]["time"] if events else 0.0
                found[run.id] = Earlier(0, time, state_after(events) in FINAL)
        at = ((position_of(name, collection), run) for name, run in found.items())
        return last_of(replace(run, position=position) for position, run in at if position is not None)

    def start_run(
        self,
        run: RunFolder,
        matches: MatchSet,
        snapshot: dict[str, Any],
        guards: Mapping[str, Guard] | None = None,
    ) -> None:
        """Give a run its data, and tell what exactly it is; it trains as soon as those before it are through.

        Args:
            run: A new run.
            matches: What it learns from.
            snapshot: What exactly that is.
            guards: Collections that must not get worse by name, each with what exactly it is.

        Raises:
            ReplicaError: If another service trains.
            OSError: If the data cannot be written; the run has failed then.
        """
        self._held().start(run, matches, snapshot, guards)

    def fail_run(self, run: RunFolder, error: Exception) -> None:
        """End a run whose data could not be had, or raise ReplicaError if another service trains."""
        self._held().fail(run, error)

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
        if self._shared:
            self._held()
        return self._folder

    def cancel(self, run_id: str) -> RunFolder:
        """End a run that is queued or running.

        Raises:
            UnknownRunError: If there is none of that id.
            ReplicaError: If another service trains.
        """
        return self._held().cancel(run_id)

    def resume(self, run_id: str) -> RunFolder:
        """Let a run that failed or was cancelled go on where it was.

        Raises:
            UnknownRunError: If there is none of that id.
            TrainingError: If it has not ended, has succeeded, or what it needs is no longer there.
            ReplicaError: If another service trains.
        """
        return self._held().resume(run_id)

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
        outcome, task = Outcome.of(run), run.task()
        policy = task["promote"]
        with self._live.swapping:
            # there is one already if the service died before it could say so
            versions = [one for one in self._registry.versions() if isinstance(one, Version)]
            version = next((one for one in versions if outcome.is_of(one.about)), None)
            if version is not None and was_promoted(version.name, self._registry.store.entries()):
                return {
                    "version": version.name,
                    **version.about["gate"],
                }  # who has gone back since then meant it
            if version is None:
                asked = Gate(policy, task["min_gain"], task["guard_margin"])
                decision = decide(outcome.evaluation, asked, rival=outcome.rival)
                if policy == "if_better":
                    told = {one.name: one.about for one in versions}
                    decision = unless_known(decision, outcome.about, told, rival=outcome.rival)
            else:
                decision = Decision(version.about["gate"]["promoted"], version.about["gate"]["reason"])
            decision = unless_overtaken(decision, policy, rival=outcome.rival, active=self._live.version)
            gate = {"promoted": decision.promote, "reason": decision.reason}
            if version is None:
                about = {**outcome.about, "gate": gate}
                version = self._registry.register(run.candidate, self._spec, about, by=f"run {run.id}")
            if decision.promote:
                self._live.promote(version.name, by=f"run {run.id}", why=decision.reason)
        self._registered()
        return {"version": version.name, **gate}
