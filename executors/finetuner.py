"""FinetunerExecutor: tunes an encoder on match data and serves its embeddings meanwhile."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, AsyncIterator, TypeVar  # noqa: UP035  jina knows no other one

from docarray import DocList
from jina import Executor, requests
from pydantic import Field, validator

from executors.client import FlowClient, PackStream
from executors.documents import (
    ContentDocument,
    MatchDocument,
    Report,
    StreamRequest,
    embedded,
    named,
)
from executors.parameters import given, parse, refuse_unknown
from executors.streams import framed
from finetuner.errors import FinetunerError, OptionError, StreamError
from finetuner.lifecycle.change_options import AuditOptions, Change, ChosenVersion, KeepOptions
from finetuner.matches import MatchSet
from finetuner.models import Side
from finetuner.service import TuningService
from finetuner.service_settings import ServiceSettings
from finetuner.settings import Options
from finetuner.training.run_folder import FINAL, LEADS_TO, RunFolder
from finetuner.training.run_options import JudgeOptions, RunOptions

ResultT = TypeVar("ResultT")


class DataOptions(Options):
    """Where match data comes from if not with the request."""

    collection: str | None = Field(default=None, description="A collection of the data Executor.")
    emit: dict[str, Any] = Field(
        default_factory=dict,
        description="Parameters of its /pack, but for collection, kind, tags and cursor.",
    )

    @validator("emit")
    def _leave_ours(cls, emit: dict[str, Any]) -> dict[str, Any]:
        ours = sorted({"collection", "kind", "tags", "cursor"} & emit.keys())
        if ours:
            raise ValueError(f"{ours[0]} is not for the request to say; name the collection beside emit")
        return emit


class FitOptions(RunOptions, DataOptions):
    """Parameters of ``/fit``."""

    run: str | None = Field(
        default=None, description="A name for the run; asking again with it starts nothing new."
    )


class EvaluateOptions(JudgeOptions, DataOptions):
    """Parameters of ``/evaluate``."""


class EncodeOptions(Options):
    """Parameters of ``/encode``."""

    side: Side = Field(
        default="document",
        description="What the documents are embedded as; query: what is asked with. It matters where a version adapts "
        "queries alone.",
    )


class ChosenRun(Options):
    """Parameters of endpoints about one run."""

    run: str = Field(description="Its id.")


class FinetunerExecutor(Executor):
    """Tunes, registers, promotes and serves the versions of one encoder.

    Args:
        match_data: Address of the data Executor, such as ``grpc://127.0.0.1:51010``; needed for collections.
        encoder: See :class:`finetuner.service_settings.ServiceSettings`, as for the next three.
        encoder_options: Arguments of its factory.
        seed: Draws the weights of a new base.
        batch_size: Contents in one forward pass at most.
        keep_runs: Of how many failed and cancelled runs is kept what /resume needs.
        feature_cache_bytes: What frozen encoders made, kept on disk at most.
        registry: Where versions are: a folder, or a URL such as ``s3://bucket/prefix``.
        keep_versions: How many of the newest are kept in any case.
        kwargs: Jina's own.
    """

    def __init__(
        self,
        match_data: str | None = None,
        encoder: str | None = None,
        encoder_options: dict[str, Any] | None = None,
        seed: int | None = None,
        batch_size: int | None = None,
        keep_runs: int | None = None,
        feature_cache_bytes: int | None = None,
        registry: str | None = None,
        keep_versions: int | None = None,
        **kwargs: Any,
    ) -> None:
        refuse_unknown(self, kwargs)
        super().__init__(**kwargs)
        settings = ServiceSettings.from_operator(
            match_data=match_data,
            encoder=encoder,
            encoder_options=encoder_options,
            seed=seed,
            batch_size=batch_size,
            keep_runs=keep_runs,
            feature_cache_bytes=feature_cache_bytes,
            registry=registry,
            keep_versions=keep_versions,
        )
        folder = settings.workspace / "finetuner" if settings.workspace else Path(self.workspace)
        self._match_data = settings.match_data
        self._service = TuningService(folder, settings)
        # forward passes queue up for one thread: torch uses the cores by itself
        self._forward = ThreadPoolExecutor(1, thread_name_prefix="forward")
        self._pulls: set[asyncio.Task[None]] = set()

    @requests(on="/encode", request_schema=DocList[ContentDocument], response_schema=DocList[ContentDocument])
    async def encode(
        self, docs: DocList[ContentDocument], parameters: dict[str, Any], **_: Any
    ) -> DocList[ContentDocument]:
        """Return the documents with ``embedding``, float32 (D,), stamped with the version that made all of them."""
        options = parse(EncodeOptions, parameters, where="/encode")
        embeddings, version = await self._in_forward(self._service.encode, docs, options.side)
        return embedded(docs, embeddings, version)

    @requests(on="/fit", request_schema=DocList[MatchDocument], response_schema=DocList[Report])
    async def fit(
        self, docs: DocList[MatchDocument], parameters: dict[str, Any], **_: Any
    ) -> DocList[Report]:
        """Start a run and return it at once.

        It learns from the documents of this request, or from a collection, which is pulled from the data Executor
        in the background. Parameters: see :class:`FitOptions`.
        """
        options = parse(FitOptions, parameters, where="/fit")
        self._check_one_source("/fit", docs, options)
        data = await asyncio.to_thread(self._service.match_set, named(docs)) if docs else None
        asked = RunOptions(**options.dict(include=set(RunOptions.__fields__)))
        run, new = await asyncio.to_thread(self._service.create_run, asked, options.run)
        if new and data is not None:
            await asyncio.to_thread(self._service.start_run, run, *data)
        elif new:
            pull = asyncio.create_task(self._pull_and_start(run, options))
            self._pulls.add(pull)
            pull.add_done_callback(self._pulls.discard)
        return _reports([run.summary()], "run")

    @requests(on="/runs", request_schema=DocList[Report], response_schema=DocList[Report])
    async def runs(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Return a Report for each run, the oldest first, or for the one that ``parameters['run']`` names."""
        if given(parameters):
            return _reports([(await self._run(parameters, "/runs")).summary()], "run")
        return _reports([run.summary() for run in await asyncio.to_thread(self._service.runs)], "run")

    @requests(on="/progress", request_schema=StreamRequest, response_schema=Report)
    async def progress(self, doc: StreamRequest, **_: Any) -> AsyncIterator[Report]:
        """Stream the events of the run that ``parameters['run']`` names, from its first until it has ended.

        A run that was resumed has ended before; the stream goes on to its last end.
        """
        async for report in framed(self._events(doc.parameters), Report):
            yield report

    @requests(on="/cancel", request_schema=DocList[Report], response_schema=DocList[Report])
    async def cancel(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """End the run that ``parameters['run']`` names; a run that has ended stays as it is."""
        asked = parse(ChosenRun, parameters, where="/cancel").run
        return _reports([(await asyncio.to_thread(self._service.cancel, asked)).summary()], "run")

    @requests(on="/resume", request_schema=DocList[Report], response_schema=DocList[Report])
    async def resume(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Let the run that ``parameters['run']`` names go on where it was; it failed or was cancelled."""
        asked = parse(ChosenRun, parameters, where="/resume").run
        return _reports([(await asyncio.to_thread(self._service.resume, asked)).summary()], "run")

    @requests(on="/evaluate", request_schema=DocList[MatchDocument], response_schema=DocList[Report])
    async def evaluate(
        self, docs: DocList[MatchDocument], parameters: dict[str, Any], **_: Any
    ) -> DocList[Report]:
        """Return how base, active and another version rank for match data. Parameters: :class:`EvaluateOptions`."""
        options = parse(EvaluateOptions, parameters, where="/evaluate")
        self._check_one_source("/evaluate", docs, options)
        if docs:
            matches, _ = await asyncio.to_thread(self._service.match_set, named(docs))
        else:
            matches, _ = await asyncio.to_thread(self._pull, options)
        # beside the forward passes of /encode, which would wait behind it
        evaluation = await asyncio.to_thread(self._service.evaluate, matches, options)
        return DocList[Report]([Report(id=options.version, tags=evaluation)])

    @requests(on="/models", request_schema=DocList[Report], response_schema=DocList[Report])
    async def models(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Return a Report for each version, the oldest first; ``tags['active']`` tells which one serves."""
        parse(Options, parameters, where="/models")
        return _reports(await asyncio.to_thread(self._service.models), "version")

    @requests(on="/audit", request_schema=DocList[Report], response_schema=DocList[Report])
    async def audit(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Return who registered, promoted, rolled back, kept and deleted which version, the last entry last."""
        options = parse(AuditOptions, parameters, where="/audit")
        return _reports(await asyncio.to_thread(self._service.audit, options.last), "id")

    @requests(on="/promote", request_schema=DocList[Report], response_schema=DocList[Report])
    async def promote(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Serve the version that ``parameters['version']`` names, gate or not."""
        chosen = parse(ChosenVersion, parameters, where="/promote")
        version = await asyncio.to_thread(self._service.promote, chosen.version, by=chosen.who("/promote"))
        return DocList[Report]([Report(id=version, tags={"version": version, "active": True})])

    @requests(on="/rollback", request_schema=DocList[Report], response_schema=DocList[Report])
    async def rollback(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Serve the version that was active before this one."""
        change = parse(Change, parameters, where="/rollback")
        version = await asyncio.to_thread(self._service.rollback, by=change.who("/rollback"))
        return DocList[Report]([Report(id=version, tags={"version": version, "active": True})])

    @requests(on="/keep", request_schema=DocList[Report], response_schema=DocList[Report])
    async def keep(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Have the version that ``parameters['version']`` names kept, however old it gets, or no longer."""
        options = parse(KeepOptions, parameters, where="/keep")
        who = options.who("/keep")
        version = await asyncio.to_thread(self._service.keep, options.version, options.kept, by=who)
        return DocList[Report]([Report(id=version, tags={"version": version, "kept": options.kept})])

    def close(self) -> None:
        """Stop the run that is training, if any; it goes on at the next start."""
        self._service.close()
        self._forward.shutdown(cancel_futures=True)

    async def _in_forward(self, call: Callable[..., ResultT], *arguments: Any) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._forward, call, *arguments)

    async def _run(self, parameters: dict[str, Any], where: str) -> RunFolder:
        asked = parse(ChosenRun, parameters, where=where).run
        return await asyncio.to_thread(self._service.run, asked)

    async def _events(self, parameters: dict[str, Any]) -> AsyncIterator[Report]:
        run = await self._run(parameters, "/progress")
        position = 0
        while True:
            events, position = run.events_after(position)
            states = [at for at, event in enumerate(events) if event["event"] in LEADS_TO]
            ended = bool(states) and events[states[-1]]["event"] in FINAL
            if ended:  # what a process reports while it is being killed comes too late
                events = events[: states[-1] + 1]
            for event in events:
                yield Report(id=run.id, tags=event)
            if ended:
                return
            if not position:
                return
            await asyncio.sleep(0.1)

    def _check_one_source(self, where: str, docs: DocList[MatchDocument], options: DataOptions) -> None:
        if bool(docs) == bool(options.collection):
            raise OptionError(f"{where}: give either documents or the name of a collection")
        if options.collection and not self._match_data:
            raise OptionError(
                f"{where}: this Executor knows no data Executor to pull {options.collection!r} from; "
                "start it with match_data=grpc://HOST:PORT, or send the documents"
            )

    def _pull(self, options: DataOptions) -> tuple[MatchSet, dict[str, Any]]:
        """Return a collection of the data Executor as a match set, and what exactly it was."""
        builder = self._service.builder()
        asked = {**options.emit, "collection": options.collection, "kind": self._service.kind}
        packs = PackStream(FlowClient(str(self._match_data)), asked)
        try:
            for pack in packs:
                builder.extend(pack)
        except ConnectionError as error:
            raise StreamError(
                f"{options.collection!r} cannot be pulled from {self._match_data}: {str(error).removesuffix('None').strip()}"
            ) from error
        return builder.build(), packs.snapshot

    async def _pull_and_start(self, run: RunFolder, options: DataOptions) -> None:
        try:
            data = await asyncio.to_thread(self._pull, options)
            await asyncio.to_thread(self._service.start_run, run, *data)
        except (FinetunerError, OSError) as error:
            self._service.fail_run(run, error)


def _reports(found: list[dict[str, Any]], name: str) -> DocList[Report]:
    return DocList[Report]([Report(id=one[name], tags=one) for one in found])
