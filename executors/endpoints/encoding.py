"""Contents in, embeddings out."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from docarray import DocList
from jina import requests
from pydantic import Field

from executors.documents import ContentDocument, embedded
from executors.endpoints.tuner import TunerEndpoints
from executors.parameters import parse
from finetuner.compatibility import Stamped
from finetuner.models import Side
from finetuner.settings import Options

ResultT = TypeVar("ResultT")


class EncodeOptions(Options):
    """Parameters of ``/encode``."""

    side: Side = Field(
        default="document",
        description="What the documents are embedded as; query: what is asked with. It matters where a version adapts "
        "queries alone.",
    )
    version: str | None = Field(
        default=None,
        description="Which version answers: active, base, or a name; one that is still loaded of those that served last, "
        "which /models calls warm.",
    )
    space: str | None = Field(
        default=None,
        description="With whose documents the answer shall be compared, if that is another version: base, or a name. The "
        "vectors are mapped into its space, to ask with.",
    )


class EncodingEndpoints(TunerEndpoints):
    """Embeds with the version that serves."""

    _forward: ThreadPoolExecutor

    @requests(on="/encode", request_schema=DocList[ContentDocument], response_schema=DocList[ContentDocument])
    async def encode(
        self, docs: DocList[ContentDocument], parameters: dict[str, Any], **_: Any
    ) -> DocList[ContentDocument]:
        """Return the documents with ``embedding``, float32 (D,), stamped with the version that made all of them."""
        options = parse(EncodeOptions, parameters, where="/encode")
        embeddings, version = await self._in_forward(
            self._service.encoding.encode, docs, options.side, options.version
        )
        if options.space is None:
            return embedded(docs, embeddings, version)
        made = Stamped(version, embeddings)
        # beside the forward passes, which must not wait for a registry from which maps are read
        answer = await asyncio.to_thread(self._service.spaces.answer, made, options.space)
        return embedded(docs, answer.vectors, version, answer.version)

    async def _in_forward(self, call: Callable[..., ResultT], *arguments: Any) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._forward, call, *arguments)
