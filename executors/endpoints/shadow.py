"""A version in the shadow of the one that serves."""

import asyncio
from typing import Any

from docarray import DocList
from jina import requests

from executors.documents import Report
from executors.endpoints.tuner import TunerEndpoints, reports
from executors.parameters import parse
from finetuner.lifecycle.change_options import ShadowOptions


class ShadowEndpoints(TunerEndpoints):
    """Starts, changes and ends a shadow, and tells what it found."""

    @requests(on="/shadow", request_schema=DocList[Report], response_schema=DocList[Report])
    async def shadow(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Return what the shadow found so far, after starting, changing or ending it; nothing if there is none.

        Parameters: see :class:`ShadowOptions`. Each process has a shadow of its own, which ends with it.
        """
        options = parse(ShadowOptions, parameters, where="/shadow")
        return reports(await asyncio.to_thread(self._service.shadowing.ask, options), "version")
