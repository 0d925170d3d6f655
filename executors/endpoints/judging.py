"""How versions rank: evaluations, and the reports of runs."""

import asyncio
from typing import Any

from docarray import DocList
from jina import requests

from executors.documents import MatchDocument, Report, named
from executors.endpoints.runs import ChosenRun
from executors.endpoints.tuner import DataOptions, TunerEndpoints
from executors.parameters import parse
from finetuner.matches import MatchSet
from finetuner.reports.options import JudgeOptions
from finetuner.reports.segments import Segments


class EvaluateOptions(JudgeOptions, DataOptions):
    """Parameters of ``/evaluate``."""


class JudgingEndpoints(TunerEndpoints):
    """Judges versions on match data."""

    @requests(on="/evaluate", request_schema=DocList[MatchDocument], response_schema=DocList[Report])
    async def evaluate(
        self, docs: DocList[MatchDocument], parameters: dict[str, Any], **_: Any
    ) -> DocList[Report]:
        """Return how base, active and other versions rank for match data. Parameters: :class:`EvaluateOptions`."""
        options = parse(EvaluateOptions, parameters, where="/evaluate")
        self.check_one_source("/evaluate", docs, options)
        segments: dict[str, str] | None = None
        if options.segment is None:
            matches, snapshot = await self.data("/evaluate", docs, options)
        else:
            matches, snapshot, segments = await asyncio.to_thread(
                self._segmented, docs, options, Segments(options.segment)
            )
        # beside the forward passes of /encode, which would wait behind it
        evaluation = await asyncio.to_thread(
            self._service.judging.evaluate, matches, options, segments, options.collection
        )
        return DocList[Report]([Report(id=options.version, tags={**evaluation, "snapshot": snapshot})])

    @requests(on="/report", request_schema=DocList[Report], response_schema=DocList[Report])
    async def report(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Return the report of the run that ``parameters['run']`` names, as data and as a page, ``tags['html']``."""
        asked = parse(ChosenRun, parameters, where="/report").run
        run = await asyncio.to_thread(self._service.tuning.run, asked)
        return DocList[Report](
            [Report(id=run.id, tags=await asyncio.to_thread(self._service.judging.report, run))]
        )

    def _segmented(
        self, docs: DocList[MatchDocument], options: DataOptions, segments: Segments
    ) -> tuple[MatchSet, dict[str, Any], dict[str, str]]:
        """Return the match data of a request, what exactly it is, and the names of segments by the ids of anchors."""
        if options.collection:
            emit = {**options.emit, "tags": True}
            builder, snapshot = self.pulled(options.collection, emit, note=segments.note_all)
            matches = builder.build()
        else:
            matches, snapshot = self._service.encoding.match_set(named(docs), note=segments.note)
        return matches, snapshot, segments.of(matches)
