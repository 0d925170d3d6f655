"""Documents: content to embed, and the judgements about it.

A match Document is an anchor with its matches. :class:`Document` stands for both, so that a notebook needs no
Jina; whatever has the same attributes (DocArray documents do) is accepted wherever a :class:`DocumentLike` is.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal, Protocol
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from finetuner.errors import ContentError, LabelError

Array = NDArray[Any]
ContentKind = Literal["text", "blob"]

TAG = "finetuner"
"""The key under which Finetuner keeps what it knows of a document: ``tags['finetuner']``."""

FLAT_LABEL = "finetuner_label"
"""The later, flat spelling of the label key: it is read, never written."""

ID_BYTES = 2000
"""So long an id may be, in UTF-8: more does not fit into an index of PostgreSQL."""

LARGEST = float(np.finfo(np.float32).max)
"""Labels and weights are not larger: match sets keep them as float32."""


class DocumentLike(Protocol):
    """What is read of a document: its identity, its content and its tags."""

    @property
    def id(self) -> Any:
        """The unique name."""
        ...

    @property
    def text(self) -> str | None:
        """The content as text."""
        ...

    @property
    def blob(self) -> Any:
        """The content as an array."""
        ...

    @property
    def tags(self) -> Mapping[str, Any]:
        """Anything about the document."""
        ...


class MatchDocumentLike(DocumentLike, Protocol):
    """An anchor: a document with matches."""

    @property
    def matches(self) -> Iterable[DocumentLike]:
        """The candidates."""
        ...


@dataclass(slots=True)
class Document:
    """A document of the library, and with ``matches`` an anchor.

    Attributes:
        text: The content as text.
        blob: The content as an array: an image, token ids, features.
        tags: Anything about the document; ``tags['finetuner']['label']`` judges a match, and
            ``tags['finetuner']['weight']`` says how much that counts.
        matches: The candidates of an anchor.
        id: Unique name; a random one by default.
    """

    text: str | None = None
    blob: Array | None = None
    tags: dict[str, Any] = field(default_factory=dict)
    matches: Sequence["Document"] = ()
    id: str = field(default_factory=lambda: uuid4().hex)


def id_of(given: Any) -> str:
    """Return an id as the text that names a document in a collection.

    Raises:
        ContentError: If there is none, or it is one that not every database can keep.
    """
    name = "" if given is None else str(given)
    if not name:
        raise ContentError("a document has no id; judgements are kept by the ids of their documents")
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise ContentError(f"document {name!r}: the id is not Unicode text: {error}") from error
    if size > ID_BYTES or "\0" in name:
        raise ContentError(
            f"document {name[:40]!r}: the id has {size} bytes; use up to {ID_BYTES} bytes of UTF-8, without NUL"
        )
    return name


def ours(tags: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what Finetuner keeps in ``tags``; nothing if somebody keeps something else under its key."""
    kept = tags.get(TAG)
    return kept if isinstance(kept, Mapping) else {}


def labelled(tags: Mapping[str, Any], label: float, weight: float = 1) -> dict[str, Any]:
    """Return a copy of ``tags`` in which the document is judged by ``label``; a weight of 1 is not written."""
    weighed = {} if weight == 1 else {"weight": weight}
    return {**tags, TAG: {**ours(tags), "label": label, **weighed}}


def unlabelled(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of ``tags`` without what the match data itself says: label, weight, place in a stream."""
    rest = {name: value for name, value in tags.items() if name not in (TAG, FLAT_LABEL)}
    if not isinstance(tags.get(TAG), Mapping):
        return {**rest, TAG: tags[TAG]} if TAG in tags else rest
    kept = {name: value for name, value in ours(tags).items() if name not in ("label", "weight", "cursor")}
    return {**rest, TAG: kept} if kept else rest


def label_of(match: DocumentLike) -> float | None:
    """Return the judgement of a match, or None if nobody judged it.

    Raises:
        LabelError: If there is a label, but it is not a number, or not finite as float32.
    """
    label = ours(match.tags).get("label")
    if label is None:
        label = match.tags.get(FLAT_LABEL)
    if label is None:
        return None
    number = _number(label)
    if not abs(number) <= LARGEST:
        raise LabelError(
            f"match {match.id!r}: label {label!r} is not a finite number; use a number above 0 for a positive, "
            "below 0 for a negative, or leave it out"
        )
    return number


def weight_of(match: DocumentLike) -> float:
    """Return how much the judgement of a match counts; 1 if nothing is said.

    Raises:
        LabelError: If there is a weight, but it is not a number above 0, or not finite as float32.
    """
    weight = ours(match.tags).get("weight")
    if weight is None:
        return 1.0
    number = _number(weight)
    if not 0 < number <= LARGEST:
        raise LabelError(
            f"match {match.id!r}: weight {weight!r} is not a finite number above 0; leave it out for 1"
        )
    return number


def _number(label: Any) -> float:
    """Return a label as a float, NaN if it is no number."""
    if isinstance(label, bool) or not isinstance(label, Real):
        return math.nan
    try:
        return float(label)
    except OverflowError:
        return math.nan


def kinds_of(document: DocumentLike) -> list[ContentKind]:
    """Return which contents a document carries."""
    there: dict[ContentKind, bool] = {"text": bool(document.text), "blob": document.blob is not None}
    return [kind for kind, is_there in there.items() if is_there]


def content_kind(document: DocumentLike) -> ContentKind:
    """Return which content a document carries; the array, where it carries both.

    Raises:
        ContentError: If it carries neither.
    """
    if document.blob is not None:
        return "blob"
    if document.text:
        return "text"
    raise ContentError(f"document {document.id!r} has no content; give it a .text or a .blob")


def content_of(document: DocumentLike, kind: ContentKind) -> str | Array:
    """Return the content of one kind in its canonical form.

    Floating arrays become float32 and integers int64, contiguous: so equal contents stay equal, whichever way
    they travelled (JSON knows no dtypes).

    Raises:
        ContentError: If that content is missing, empty, not numeric, or not finite.
    """
    if kind == "text":
        if not document.text:
            other = "; it has a .blob, which another encoder would take" if document.blob is not None else ""
            raise ContentError(f"document {document.id!r} has no .text, which is needed here{other}")
        return document.text
    if document.blob is None:
        other = "; it has a .text, which another encoder would take" if document.text else ""
        raise ContentError(f"document {document.id!r} has no .blob, which is needed here{other}")
    try:
        array = np.asarray(document.blob)
    except ValueError as error:
        raise ContentError(f"document {document.id!r}: the .blob is not an array: {error}") from error
    return canonical(array, document.id)


def canonical(array: Array, document_id: Any) -> Array:
    """Return an array in its canonical form; see :func:`content_of`."""
    if array.size == 0:
        raise ContentError(f"document {document_id!r}: the .blob is empty, its shape is {array.shape}")
    if np.issubdtype(array.dtype, np.floating):
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, dtype=np.float32)
        if not np.isfinite(array).all():
            raise ContentError(f"document {document_id!r}: the .blob holds NaN or infinite numbers")
        return array
    if np.issubdtype(array.dtype, np.integer):
        return np.ascontiguousarray(array, dtype=np.int64)
    raise ContentError(f"document {document_id!r}: the .blob has dtype {array.dtype}; numbers are accepted")
