"""Runs: started, watched, cancelled, resumed."""

import asyncio
from typing import Any, AsyncIterator  # noqa: UP035  jina knows no other one

from docarray import DocList
from jina import requests
from pydantic import Field

from executors.documents import MatchDocument, Report, StreamRequest, named
from executors.endpoints.starting import FitOptions, RunStarter
from executors.endpoints.tuner import reports
from executors.parameters import given, parse
from executors.streams import framed
from finetuner.settings import Options
from finetuner.training.run_folder import FINAL, LEADS_TO, RunFolder


class ChosenRun(Options):
    """Parameters of endpoints about one run."""

    run: str = Field(description="Its id.")


class RunEndpoints(RunStarter):
    """Starts runs and tells of them."""

    _pulls: set[asyncio.Task[None]]

    @requests(on="/fit", request_schema=DocList[MatchDocument], response_schema=DocList[Report])
    async def fit(
        self, docs: DocList[MatchDocument], parameters: dict[str, Any], **_: Any
    ) -> DocList[Report]:
        """Start a run and return it at once.

        It learns from the documents of this request, or from a collection, which is pulled from the data Executor
        in the background, as its guards are. Parameters: see :class:`FitOptions`.
        """
        options = parse(FitOptions, parameters, where="/fit")
        self.check_one_source("/fit", docs, options)
        self.check_pulled("/fit", options)
        data = await asyncio.to_thread(self._service.encoding.match_set, named(docs)) if docs else None
        run, new, since = await asyncio.to_thread(self.create_run, options)
        if new and data is not None and "guards" not in run.task():
            await asyncio.to_thread(self._service.tuning.start_run, run, *data)
        elif new:
            pull = asyncio.create_task(asyncio.to_thread(self.pull_and_start, run, options, since, data))
            self._pulls.add(pull)
            pull.add_done_callback(self._pulls.discard)
        return reports([run.summary()], "run")

    @requests(on="/runs", request_schema=DocList[Report], response_schema=DocList[Report])
    async def runs(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Return a Report for each run, the oldest first, or for the one that ``parameters['run']`` names."""
        if given(parameters):
            return reports([(await self._run(parameters, "/runs")).summary()], "run")
        return reports([run.summary() for run in await asyncio.to_thread(self._service.tuning.runs)], "run")

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
        return reports([(await asyncio.to_thread(self._service.tuning.cancel, asked)).summary()], "run")

    @requests(on="/resume", request_schema=DocList[Report], response_schema=DocList[Report])
    async def resume(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Let the run that ``parameters['run']`` names go on where it was; it failed or was cancelled."""
        asked = parse(ChosenRun, parameters, where="/resume").run
        return reports([(await asyncio.to_thread(self._service.tuning.resume, asked)).summary()], "run")

    async def _run(self, parameters: dict[str, Any], where: str) -> RunFolder:
        asked = parse(ChosenRun, parameters, where=where).run
        return await asyncio.to_thread(self._service.tuning.run, asked)

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
