"""How a run comes to its data: what it learns from and what must not get worse, pulled from the data Executor."""

from typing import Any

from pydantic import Field

from executors.endpoints.tuner import DataOptions, TunerEndpoints
from finetuner.continual.options import ContinualOptions
from finetuner.continual.selection import Said, select
from finetuner.continual.since import Since
from finetuner.errors import ChangedDataError, FinetunerError, MatchDataError, OptionError
from finetuner.matches import MatchSet
from finetuner.training.run_folder import RunFolder
from finetuner.training.run_options import RunOptions
from finetuner.training.runs import Guard

Data = tuple[MatchSet, dict[str, Any]]
"""Match data, and what exactly it is."""


class FitOptions(RunOptions, ContinualOptions, DataOptions):
    """Parameters of ``/fit``."""

    run: str | None = Field(
        default=None, description="A name for the run; asking again with it starts nothing new."
    )


class RunStarter(TunerEndpoints):
    """Creates runs, and gives them their data."""

    def check_pulled(self, where: str, options: FitOptions) -> None:
        """Raise OptionError if what is to be pulled cannot be, or an option about it would mean nothing."""
        if options.since is not None and not options.collection:
            raise OptionError(
                f"{where}: since goes with the name of a collection; documents have no positions"
            )
        if options.since is None and options.replay != FitOptions.__fields__["replay"].default:
            raise OptionError(f"{where}: replay goes with since; without it a run learns from all")
        guards = self._service.tuning.guards(options)
        if guards and not self._match_data:
            raise OptionError(
                f"{where}: this Executor knows no data Executor to pull guard {guards[0]!r} from; "
                "start it with match_data=grpc://HOST:PORT, or leave guards out"
            )

    def create_run(self, options: FitOptions) -> tuple[RunFolder, bool, Since | None]:
        """Write a new run that waits for its data; return it, whether it is new, and since when it learns what is new.

        Raises:
            FinetunerError: As :meth:`finetuner.service.tuning.Tuning.create_run` and its ``since``.
        """
        tuning = self._service.tuning
        since = None if options.since is None else tuning.since(options.since, str(options.collection))
        asked = RunOptions(**options.dict(include=set(RunOptions.__fields__)))
        continual = ContinualOptions(**options.dict(include=set(ContinualOptions.__fields__)))
        return *tuning.create_run(asked, options.run, continual), since

    def pull_and_start(
        self,
        run: RunFolder,
        options: FitOptions,
        since: Since | None,
        data: Data | None = None,
        *,
        or_all: bool = False,
    ) -> None:
        """Give a new run its data; where that cannot be had, the run has failed.

        Args:
            run: The run.
            options: What was asked for.
            since: Since when it learns what is new; None for all of the collection.
            data: Match data that came otherwise; its guards are still pulled.
            or_all: Learn from all of the collection where what held then is no longer there.

        Raises:
            ReplicaError: If another service trains by now.
        """
        try:
            data = data or self._learnt_from(options, since, or_all=or_all)
            guards = {name: self._guard(name) for name in run.task().get("guards", ())}
            self._service.tuning.start_run(run, *data, guards)
        except (FinetunerError, OSError) as error:
            self._service.tuning.fail_run(run, error)
        except Exception as error:  # a fault of ours: who waits for the run must not wait for ever
            self._service.tuning.fail_run(run, error)
            raise

    def _learnt_from(self, options: FitOptions, since: Since | None, *, or_all: bool) -> Data:
        if since is None:
            return self.pull(options)
        try:
            before = self._said(options, since)  # first, so that never both are in memory with their contents
        except ChangedDataError:
            if or_all:
                return self.pull(options)
            raise
        matches, snapshot = self.pull(options)
        selection = select(matches, before, options, replay=options.replay)
        return selection.matches, {**snapshot, "since": since.as_figures(), **selection.as_figures()}

    def _said(self, options: FitOptions, since: Since) -> Said:
        """Return what a collection said then, which costs as much as to pull it."""
        if not since.position:
            return Said.nothing()
        emit = options.emit if since.parameters is None else since.parameters
        try:
            builder, snapshot = self.pulled(str(options.collection), {**emit, "position": since.position})
        except OptionError as error:  # after it was deleted and fed anew
            raise error if since.checksum is None else since.gone(str(options.collection)) from error
        since.check(snapshot)
        try:
            return Said.of(builder.build())
        except MatchDataError:  # all of it was deleted
            return Said.nothing()

    def _guard(self, collection: str) -> Guard:
        try:
            return self.pull(DataOptions(collection=collection))
        except FinetunerError as error:
            raise type(error)(f"guard {collection!r} cannot be pulled: {error}") from error
