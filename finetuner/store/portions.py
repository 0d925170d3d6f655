"""Documents on their way into the store: checked, taken apart, and gathered into portions that fit in memory."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

import numpy as np

from finetuner.contents import content_hash
from finetuner.documents import (
    FLAT_LABEL,
    TAG,
    Array,
    DocumentLike,
    MatchDocumentLike,
    content_kind,
    content_of,
    label_of,
)
from finetuner.errors import ContentError

PORTION_DOCUMENTS = 8192
"""Documents, anchors and matches, after which a portion is full."""

PORTION_BYTES = 32 * 2**20
"""Bytes of different contents after which a portion is full."""

Pair = tuple[str, str]
"""The ids of an anchor and of one of its matches."""


class Form(NamedTuple):
    """Which contents a document carries, and how its array looks."""

    has_text: bool
    dtype: "np.dtype[Any] | None"
    shape: tuple[int, ...] | None

    @property
    def blob(self) -> str | None:
        """The array in words, such as ``float32 (28, 28)``."""
        return None if self.dtype is None else f"{self.dtype} {self.shape}"


class Held(NamedTuple):
    """The hashes of what a document holds."""

    text_hash: bytes | None
    blob_hash: bytes | None


class Portion:
    """Some documents of a feed, ready to be stored.

    Attributes:
        read: Match Documents read.
        contents: Rows of the different contents, by hash.
        forms: Each form that a document has, with the id of the first such document.
        documents: What each document holds, by id.
        anchors: The tags of each anchor as JSON, by id.
        candidates: The tags of each match as JSON without the label, by (anchor, match).
        judgements: (anchor, match) and label, in the order in which they came.
    """

    def __init__(self) -> None:
        self.read = 0
        self.contents: dict[bytes, dict[str, Any]] = {}
        self.forms: dict[Form, str] = {}
        self.documents: dict[str, Held] = {}
        self.anchors: dict[str, str] = {}
        self.candidates: dict[Pair, str] = {}
        self.judgements: list[tuple[Pair, float]] = []
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether it is time to store it."""
        return len(self.candidates) >= PORTION_DOCUMENTS or self._bytes >= PORTION_BYTES

    def add(self, document: MatchDocumentLike) -> None:
        """Take in one match Document.

        Raises:
            ContentError: If a document has no id or content, unfit content or tags, or another content than
                one with the same id.
            LabelError: If a label is no number.
        """
        self.read += 1
        anchor = self._add_document(document)
        self.anchors[anchor] = _tags(document, document.tags) or self.anchors.get(anchor, "")
        for match in document.matches:
            label = label_of(match)
            pair = (anchor, self._add_document(match))
            self.candidates[pair] = _tags(match, _unlabelled(match.tags)) or self.candidates.get(pair, "")
            if label is not None:
                self.judgements.append((pair, label))

    def _add_document(self, document: DocumentLike) -> str:
        name = _name(document)
        content_kind(document)
        text = content_of(document, "text") if document.text else None
        blob = None if document.blob is None else cast(Array, content_of(document, "blob"))
        form = Form(text is not None, *((None, None) if blob is None else (blob.dtype, blob.shape)))
        self.forms.setdefault(form, name)
        held = Held(self._add_content(text), self._add_content(blob))
        if self.documents.setdefault(name, held) != held:
            raise ContentError(
                f"document {name!r} comes twice with different contents; an id names one content"
            )
        return name

    def _add_content(self, content: str | Array | None) -> bytes | None:
        if content is None:
            return None
        digest = content_hash(content)
        if digest not in self.contents:
            row = _content_row(content)
            self.contents[digest] = {"hash": digest, **row}
            self._bytes += len(row["data"])
        return digest


def read_portions(documents: Iterable[MatchDocumentLike]) -> Iterator[Portion]:
    """Read documents, once and one by one, into portions.

    Raises:
        ContentError: As :meth:`Portion.add` does.
        LabelError: If a label is no number.
    """
    portion = Portion()
    for document in documents:
        portion.add(document)
        if portion.is_full:
            yield portion
            portion = Portion()
    if portion.read:
        yield portion


def _name(document: DocumentLike) -> str:
    name = "" if document.id is None else str(document.id)
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ContentError(f"document {name!r}: the id is not Unicode text: {error}") from error
    if not name:
        raise ContentError("a document has no id; judgements are kept by the ids of their documents")
    return name


def _content_row(content: str | Array) -> dict[str, Any]:
    if isinstance(content, str):
        return {"dtype": None, "shape": None, "data": content.encode("utf-8", "surrogatepass")}
    return {"dtype": content.dtype.str, "shape": json.dumps(content.shape), "data": content.tobytes()}


def content_from(dtype: str | None, shape: str | None, data: bytes) -> str | Array:
    """Return the content of a row; an array cannot be written to."""
    if dtype is None or shape is None:
        return data.decode("utf-8", "surrogatepass")
    return np.frombuffer(data, dtype).reshape(json.loads(shape))


def _unlabelled(tags: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in tags.items() if name not in (TAG, FLAT_LABEL)}
    ours = tags.get(TAG)
    if isinstance(ours, Mapping):
        ours = {name: value for name, value in ours.items() if name != "label"}
    return {**rest, TAG: ours} if ours else rest


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


_ENCODER = json.JSONEncoder(sort_keys=True, allow_nan=False, default=_plain)


def _tags(document: DocumentLike, tags: Mapping[str, Any]) -> str:
    if not tags:
        return ""
    try:
        return _ENCODER.encode(dict(tags))
    except (TypeError, ValueError) as error:
        raise ContentError(
            f"document {document.id!r}: its tags cannot be kept: {error}; use finite numbers, strings, "
            "booleans, None, and lists and dicts of them"
        ) from error
