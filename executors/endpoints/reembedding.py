"""An index that is rebuilt: documents of a collection, embedded again."""

import asyncio
from typing import Any, AsyncIterator  # noqa: UP035  jina knows no other one

from docarray import DocList
from jina import requests
from pydantic import Field

from executors.documents import ContentDocument, MatchDocument, StreamRequest
from executors.endpoints.tuner import DataOptions, TunerEndpoints
from executors.parameters import parse
from executors.streams import framed
from finetuner.documents import TAG
from finetuner.service.reembedding import Cursor, Rebuilding, ReembedOptions


class ReembedParameters(ReembedOptions, DataOptions):
    """Parameters of ``/reembed``."""

    collection: str = Field(description="A collection of the data Executor.")

    def pinned(self) -> dict[str, Any]:
        """Return what to ask the data Executor for: what there was when the cursor was made."""
        if self.cursor is None or not (position := Cursor.parse(self.cursor).position):
            return self.emit
        return {"position": position, **self.emit}


class ReembeddingEndpoints(TunerEndpoints):
    """Embeds collections again."""

    @requests(on="/reembed", request_schema=StreamRequest, response_schema=ContentDocument)
    async def reembed(self, doc: StreamRequest, **_: Any) -> AsyncIterator[ContentDocument]:
        """Stream the documents of a collection with new embeddings, those first for which it matters most.

        Each has its id, its embedding, the version that made it, and the cursor behind it, at which another stream goes on.
        Parameters: :class:`ReembedParameters`. The last frame tells ``total``, ``version``, ``old`` and ``position``.
        """
        ended: dict[str, Any] = {}
        async for document in framed(self._again(doc.parameters, ended), ContentDocument, end=lambda: ended):
            yield document

    async def _again(
        self, parameters: dict[str, Any], ended: dict[str, Any]
    ) -> AsyncIterator[ContentDocument]:
        options = parse(ReembedParameters, parameters, where="/reembed")
        self.check_one_source("/reembed", DocList[MatchDocument](), options)
        rebuilding = await asyncio.to_thread(self._begun, options)
        portions = iter(rebuilding)
        # beside the forward passes of /encode, which would wait behind it
        while portion := await asyncio.to_thread(next, portions, None):
            for name, embedding, cursor in portion:
                stamp = {"model": rebuilding.version, "cursor": str(cursor)}
                yield ContentDocument(id=name, embedding=embedding, tags={TAG: stamp})
        ended.update(rebuilding.end())

    def _begun(self, options: ReembedParameters) -> Rebuilding:
        collected = self._service.encoding.collected(anchors=options.anchors)
        snapshot = self.read(options.collection, options.pinned(), collected.extend)
        return self._service.reembedding.begin(collected, snapshot, options)
