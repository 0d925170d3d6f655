"""The documents on the wire, and their way to and from the library.

Two levels and no self reference: DocArray's schemas know no recursion. The library reads these documents as they
are (they have the attributes of a :class:`finetuner.documents.DocumentLike`), so there is no way *in* to translate.
"""

import json
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from docarray import BaseDoc, DocList
from docarray.typing import NdArray

from finetuner.contents import content_hash
from finetuner.documents import TAG, Document, content_kind, content_of, ours
from finetuner.models import Embeddings
from finetuner.packs import Pack

DocT = TypeVar("DocT", bound="ContentDocument")
DocumentArray = DocList
"""DocArray's older name."""


class ContentDocument(BaseDoc):
    """A document: content to embed, and after ``/encode`` its embedding, float32 (D,).

    ``tags['finetuner']['label']`` judges a match, ``tags['finetuner']['model']`` tells who made the embedding.
    """

    text: str | None = None
    blob: NdArray | None = None
    tags: dict[str, Any] = {}
    embedding: NdArray | None = None


class MatchDocument(ContentDocument):
    """An anchor with its matches."""

    matches: DocList[ContentDocument] = DocList[ContentDocument]()


class StreamRequest(BaseDoc):
    """What a stream is asked with; Jina does not carry request parameters to a stream."""

    parameters: dict[str, Any] = {}


class PackDocument(BaseDoc):
    """Many match Documents in columns, see :class:`finetuner.packs.Pack`; lists travel as JSON.

    Either ``texts`` or ``blobs`` holds the contents that no earlier pack of the stream had.
    """

    tags: dict[str, Any] = {}
    texts: str | None = None
    blobs: NdArray | None = None
    ids: str = "[]"
    anchors: NdArray | None = None
    offsets: NdArray | None = None
    matches: NdArray | None = None
    labels: NdArray | None = None


class Report(BaseDoc):
    """An answer that is no document: a run, a model version, a collection; ``id`` names it."""

    tags: dict[str, Any] = {}


def to_wire(document: Document) -> MatchDocument:
    """Return a document of the library, with its matches, as it goes over the wire."""
    return MatchDocument(
        id=document.id,
        text=document.text,
        blob=document.blob,
        tags=document.tags,
        matches=DocList[ContentDocument](
            ContentDocument(id=match.id, text=match.text, blob=match.blob, tags=match.tags)
            for match in document.matches
        ),
    )


def pack_to_wire(pack: Pack) -> PackDocument:
    """Return a pack as it goes over the wire."""
    columns = {
        "anchors": pack.anchors,
        "offsets": pack.offsets,
        "matches": pack.matches,
        "labels": pack.labels,
    }
    if isinstance(pack.contents, list):
        return PackDocument(texts=json.dumps(pack.contents), ids=json.dumps(pack.ids), **columns)
    return PackDocument(blobs=pack.contents, ids=json.dumps(pack.ids), **columns)


def pack_from_wire(document: PackDocument) -> Pack:
    """Return a pack that came over the wire."""
    return Pack(
        contents=np.asarray(document.blobs) if document.texts is None else json.loads(document.texts),
        ids=json.loads(document.ids),
        anchors=np.asarray(document.anchors),
        offsets=np.asarray(document.offsets),
        matches=np.asarray(document.matches),
        labels=np.asarray(document.labels),
    )


def named(documents: Iterable[DocT]) -> list[DocT]:
    """Return documents of which each has an id; one that came without gets the hash of its content.

    Over HTTP an id may be left out. Named by its content, the same document is the same again next time.
    """
    listed = list(documents)
    for document in listed:
        for one in (document, *getattr(document, "matches", ())):
            if one.id is None:
                one.id = content_hash(content_of(one, content_kind(one))).hex()
    return listed


def embedded(
    documents: DocList[ContentDocument], embeddings: Embeddings, version: str
) -> DocList[ContentDocument]:
    """Return documents with their embeddings, stamped with the model version that made them."""
    for document, embedding in zip(documents, embeddings, strict=True):
        document.embedding = embedding
        document.tags = {**document.tags, TAG: {**ours(document.tags), "model": version}}
    return documents
