"""The documents on the wire, and their way to and from the library.

Two levels and no self reference: DocArray's schemas know no recursion. The library reads these documents as they
are (they have the attributes of a :class:`finetuner.documents.DocumentLike`), so there is no way *in* to translate.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from docarray import BaseDoc, DocList
from docarray.typing import NdArray

from finetuner.contents import content_hash
from finetuner.documents import TAG, Document, content_kind, content_of, ours
from finetuner.models import Embeddings

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
