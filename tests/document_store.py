"""A store that tests speak to in documents."""

from collections.abc import Iterable, Iterator
from typing import Any

from finetuner.documents import Document, MatchDocumentLike
from finetuner.packing import packed, unpacked
from finetuner.store import FeedReport, MatchStore


class DocumentStore(MatchStore):
    """The store, with packs made of documents and documents made of packs.

    Attributes:
        anchors: Anchors in a pack, of feeds and of streams.
    """

    anchors = 256

    def feed_documents(
        self, collection: str, documents: Iterable[MatchDocumentLike], **how: Any
    ) -> FeedReport:
        """Feed match Documents."""
        packs = packed(documents, standalone=True, anchors=self.anchors)
        return self.feed(collection, packs, **how)

    def documents(self, collection: str, **asked: Any) -> Iterator[Document]:
        """Return the match Documents of a collection as a stream."""
        packs = self.packs(collection, tags=True, standalone=True, anchors=self.anchors, **asked)
        return unpacked(packs)
