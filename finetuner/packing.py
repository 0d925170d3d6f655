"""Documents into packs and back: only where people or other programs speak in documents."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from finetuner.contents import Alike
from finetuner.documents import (
    Array,
    ContentKind,
    Document,
    DocumentLike,
    MatchDocumentLike,
    content_of,
    id_of,
    kinds_of,
    label_of,
    labelled,
    unlabelled,
    weight_of,
)
from finetuner.errors import ContentError
from finetuner.packs import ANCHORS, BYTES, MATCHES, Pack


def packed(
    documents: Iterable[MatchDocumentLike],
    *,
    kind: ContentKind | None = None,
    anchors: int = ANCHORS,
    standalone: bool = False,
) -> Iterator[Pack]:
    """Yield match Documents as packs.

    Args:
        documents: Anchors with matches, read one by one. In a stream an id stands for one content, as it does in a
            collection; a document with an id alone is one that the reader knows.
        kind: Which content to take; by default all that the first document has.
        anchors: Anchors in a pack at most.
        standalone: Let every pack start at 0. What is in memory then does not grow with the stream, and a content
            is sent again in each pack that needs it.

    Raises:
        ContentError: If a document has no id, lacks a content that others have, has unfit content or tags, or has
            another content than one of the same id in the same pack.
        LabelError: If a label or weight is no number.
    """
    gatherer = _Gatherer(kind)
    for document in documents:
        gatherer.add(document)
        if gatherer.is_full(anchors):
            yield gatherer.pack(forget=standalone)
    if not gatherer.is_empty:
        yield gatherer.pack(forget=standalone)


def unpacked(packs: Iterable[Pack]) -> Iterator[Document]:
    """Yield the anchors of packs as documents, with their matches.

    All contents since the last pack that started at 0 are kept in memory. Arrays are shared among documents.
    """
    known: list[Document] = []
    for pack in packs:
        del known[pack.start :]
        known += _carriers(pack)
        for number, row in enumerate(pack.anchors):
            anchor = _copy(known[row], _tag(pack.anchor_tags, number))
            span = range(pack.offsets[number], pack.offsets[number + 1])
            anchor.matches = [_match(known[pack.matches[place]], pack, place) for place in span]
            yield anchor


def _carriers(pack: Pack) -> Iterator[Document]:
    for number, name in enumerate(pack.ids):
        carries = number < pack.carried
        text = pack.texts[number] if carries and pack.texts is not None else None
        blob = pack.blobs[number] if carries and pack.blobs is not None else None
        yield Document(text, blob, id=name)


def _copy(document: Document, tags: str) -> Document:
    return Document(document.text, document.blob, json.loads(tags) if tags else {}, id=document.id)


def _tag(tags: Sequence[str] | None, place: int) -> str:
    return "" if tags is None else tags[place]


def _match(document: Document, pack: Pack, place: int) -> Document:
    match = _copy(document, _tag(pack.match_tags, place))
    label = float(pack.labels[place])
    if label == label:  # judged: NaN is not itself
        match.tags = labelled(match.tags, label, 1.0 if pack.weights is None else float(pack.weights[place]))
    return match


class _Gatherer:
    """Takes documents in until there are enough for a pack."""

    def __init__(self, kind: ContentKind | None) -> None:
        self._all = kind is None
        self._kinds: list[ContentKind] | None = None if kind is None else [kind]
        self._alike = Alike()
        self._row_of: dict[str, int] = {}  # of the documents of earlier packs
        self._begin()

    def _begin(self) -> None:
        self._new: dict[str, dict[ContentKind, str | Array]] = {}  # contents by id
        self._anchors: list[str] = []
        self._counts: list[int] = []
        self._matches: list[str] = []
        self._labels: list[float] = []
        self._weights: list[float] = []
        self._anchor_tags: list[str] = []
        self._match_tags: list[str] = []
        self._bytes = 0

    @property
    def is_empty(self) -> bool:
        return not self._anchors

    def is_full(self, anchors: int) -> bool:
        return len(self._anchors) >= anchors or len(self._matches) >= MATCHES or self._bytes >= BYTES

    def add(self, document: MatchDocumentLike) -> None:
        before = len(self._matches)
        self._anchors.append(self._take(document))
        self._anchor_tags.append(as_json(document.id, unlabelled(document.tags)))
        for match in document.matches:
            label = label_of(match)
            self._matches.append(self._take(match))
            self._labels.append(np.nan if label is None else label)
            self._weights.append(weight_of(match))
            self._match_tags.append(as_json(match.id, unlabelled(match.tags)))
        self._counts.append(len(self._matches) - before)

    def _take(self, document: DocumentLike) -> str:
        name = id_of(document.id)
        if name in self._row_of:
            return name
        carried = self._contents(document)
        held = self._new.setdefault(name, carried)
        if not held:
            self._new[name] = held = carried
        if carried and not all(np.array_equal(held[kind], carried[kind]) for kind in held):
            raise ContentError(
                f"document {name!r} comes twice with different contents; an id names one content"
            )
        if held is carried:
            self._bytes += sum(len(one) if isinstance(one, str) else one.nbytes for one in carried.values())
        return name

    def _contents(self, document: DocumentLike) -> dict[ContentKind, str | Array]:
        kinds = kinds_of(document)
        if not kinds:
            return {}
        if self._kinds is None:
            self._kinds = kinds
        elif self._all and kinds != self._kinds:
            raise ContentError(
                f"document {document.id!r} holds {in_words(kinds)}, the first one {in_words(self._kinds)}; "
                "all must hold the same"
            )
        contents = {kind: content_of(document, kind) for kind in self._kinds}
        if "blob" in contents:
            self._alike.check(contents["blob"], document.id)
        return contents

    def pack(self, *, forget: bool) -> Pack:
        start = len(self._row_of)
        named = sorted(self._new, key=lambda name: not self._new[name])  # those with content first
        self._row_of.update(zip(named, range(start, start + len(named)), strict=True))
        carried = [contents for name in named if (contents := self._new[name])]
        kinds = self._kinds or []
        pack = Pack(
            start=start,
            ids=named,
            texts=[str(one["text"]) for one in carried] if "text" in kinds else None,
            blobs=np.array([one["blob"] for one in carried]) if carried and "blob" in kinds else None,
            anchors=np.array([self._row_of[name] for name in self._anchors], np.int64),
            offsets=np.concatenate([[0], np.cumsum(self._counts)]).astype(np.int64),
            matches=np.array([self._row_of[name] for name in self._matches], np.int64),
            labels=np.array(self._labels, np.float64),
            weights=np.array(self._weights) if any(weight != 1 for weight in self._weights) else None,
            anchor_tags=self._anchor_tags if any(self._anchor_tags) else None,
            match_tags=self._match_tags if any(self._match_tags) else None,
        )
        if forget:
            self._row_of = {}
        self._begin()
        return pack


def in_words(kinds: Iterable[str]) -> str:
    """Return kinds of content as a message names them."""
    return " and ".join(f".{kind}" for kind in kinds) or "nothing"


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


_ENCODER = json.JSONEncoder(sort_keys=True, allow_nan=False, default=_plain)


def as_json(document_id: object, tags: Mapping[str, Any]) -> str:
    """Return tags as JSON, nothing for none.

    Raises:
        ContentError: If JSON cannot hold them.
    """
    if not tags:
        return ""
    try:
        return _ENCODER.encode(dict(tags))
    except (TypeError, ValueError) as error:
        raise ContentError(
            f"document {document_id!r}: its tags cannot be kept: {error}; use finite numbers, strings, "
            "booleans, None, and lists and dicts of them"
        ) from error
