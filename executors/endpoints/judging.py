"""How versions rank."""

import asyncio
from typing import Any

from docarray import DocList
from jina import requests

from executors.documents import MatchDocument, Report
from executors.endpoints.tuner import DataOptions, TunerEndpoints
from executors.parameters import parse
from finetuner.training.run_options import JudgeOptions


class EvaluateOptions(JudgeOptions, DataOptions):
    """Parameters of ``/evaluate``."""


class JudgingEndpoints(TunerEndpoints):
    """Judges versions on match data."""

    @requests(on="/evaluate", request_schema=DocList[MatchDocument], response_schema=DocList[Report])
    async def evaluate(
        self, docs: DocList[MatchDocument], parameters: dict[str, Any], **_: Any
    ) -> DocList[Report]:
        """Return how base, active and another version rank for match data. Parameters: :class:`EvaluateOptions`."""
        options = parse(EvaluateOptions, parameters, where="/evaluate")
        matches, _ = await self.data("/evaluate", docs, options)
        # beside the forward passes of /encode, which would wait behind it
        evaluation = await asyncio.to_thread(self._service.judging.evaluate, matches, options)
        return DocList[Report]([Report(id=options.version, tags=evaluation)])
