"""The documents on the wire, and their way to and from the library.

Two levels and no self reference: DocArray's schemas know no recursion. The library reads these documents as they
are (they have the attributes of a :class:`finetuner.documents.DocumentLike`), so there is no way *in* to translate.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from docarray import BaseDoc, DocList
from docarray.proto import DocProto
from docarray.typing import NdArray
from numpy.typing import NDArray
from pydantic import PrivateAttr

from finetuner.contents import content_hash
from finetuner.documents import TAG, Document, content_kind, content_of, ours
from finetuner.errors import ContentError
from finetuner.models import Embeddings
from finetuner.pack_checks import checked
from finetuner.packs import Pack

DocT = TypeVar("DocT", bound="ContentDocument")
DocumentArray = DocList
"""DocArray's older name."""


class ContentDocument(BaseDoc):
    """A document: content to embed, and after ``/encode`` its embedding, float32 (D,).

    ``tags['finetuner']['label']`` judges a match, ``tags['finetuner']['model']`` tells who made the embedding,
    and ``tags['finetuner']['space']`` with whose it may be compared if that is another version.
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
    """Many match Documents in columns, see :class:`finetuner.packs.Pack`; lists of strings travel as JSON."""

    tags: dict[str, Any] = {}
    start: int = 0
    ids: str = "[]"
    texts: str | None = None
    blobs: NdArray | None = None
    anchors: NdArray | None = None
    offsets: NdArray | None = None
    matches: NdArray | None = None
    labels: NdArray | None = None
    weights: NdArray | None = None
    anchor_tags: str | None = None
    match_tags: str | None = None


class PackFrame(PackDocument):
    """A pack that is made into its message once and sent as often as somebody asks; it has no columns of its own."""

    _message: DocProto = PrivateAttr()

    @classmethod
    def of(cls, pack: Pack, tags: dict[str, Any]) -> "PackFrame":
        """Return the frame of a pack."""
        frame = cls()
        frame._message = pack_to_wire(pack, tags).to_protobuf()
        return frame

    @property
    def nbytes(self) -> int:
        """How many bytes its message takes."""
        return int(self._message.ByteSize())

    def to_protobuf(self) -> DocProto:
        """Return its message, which nobody may change."""
        return self._message


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


def pack_to_wire(pack: Pack, tags: dict[str, Any] | None = None) -> PackDocument:
    """Return a pack as it goes over the wire."""
    return PackDocument(
        tags=tags or {},
        start=pack.start,
        ids=json.dumps(pack.ids),
        **{name: _listed(getattr(pack, name)) for name in ("texts", "anchor_tags", "match_tags")},
        **{name: getattr(pack, name) for name in ("blobs", "weights", *_ALWAYS)},
    )


def pack_from_wire(document: PackDocument) -> Pack:
    """Return a pack that came over the wire.

    Raises:
        ContentError: If its columns do not fit together, or a content is unfit.
        LabelError: If a label or weight is unfit.
    """
    try:
        texts, anchor_tags, match_tags = (
            None if listed is None else [str(one) for one in json.loads(listed)]
            for listed in (document.texts, document.anchor_tags, document.match_tags)
        )
        pack = Pack(
            start=document.start,
            ids=[str(one) for one in json.loads(document.ids)],
            texts=texts,
            blobs=None if document.blobs is None else np.atleast_1d(np.asarray(document.blobs)),
            anchor_tags=anchor_tags,
            match_tags=match_tags,
            weights=None if document.weights is None else _column(document.weights, np.float64),
            labels=_column(document.labels, np.float64),
            **{name: _column(getattr(document, name), np.int64) for name in _ROWS},
        )
    except (TypeError, ValueError) as error:
        raise ContentError(
            f"a pack cannot be read: {error}; see finetuner.packs.Pack for its columns"
        ) from error
    return checked(pack)


_ROWS = ("anchors", "offsets", "matches")
_ALWAYS = (*_ROWS, "labels")


def _column(given: Any, dtype: type[np.generic]) -> NDArray[Any]:
    """Return a column, (N,), or raise ValueError if it is none."""
    column = np.asarray(given, dtype)
    if column.ndim != 1:
        raise ValueError(f"a column has the shape {column.shape}; one dimension is needed")
    return column


def _listed(strings: Sequence[str] | None) -> str | None:
    return None if strings is None else json.dumps(list(strings))


def named(documents: Iterable[DocT]) -> Iterator[DocT]:
    """Yield documents of which each has an id; one that came without gets the hash of its content.

    Over HTTP an id may be left out. Named by its content, the same document is the same again next time.
    """
    for document in documents:
        for one in (document, *getattr(document, "matches", ())):
            if one.id is None:
                one.id = content_hash(content_of(one, content_kind(one))).hex()
        yield document


def embedded(
    documents: DocList[ContentDocument], embeddings: Embeddings, version: str, space: str | None = None
) -> DocList[ContentDocument]:
    """Return documents with their embeddings, stamped with the model version that made them.

    Args:
        documents: N documents.
        embeddings: Theirs, float32 (N, D).
        version: The version that made them.
        space: The version in whose space they are, if that is another one; it is stamped beside.
    """
    stamp = {"model": version} if space in (None, version) else {"model": version, "space": space}
    for document, embedding in zip(documents, embeddings, strict=True):
        document.embedding = embedding
        rest = {name: value for name, value in ours(document.tags).items() if name != "space"}
        document.tags = {**document.tags, TAG: {**rest, **stamp}}
    return documents
