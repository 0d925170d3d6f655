"""Match Documents in JSON Lines, as ``/feed`` takes them over HTTP."""

from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from finetuner.contents import content_hash
from finetuner.documents import Array, Document
from finetuner.doors.cells import ContentReader, read_id
from finetuner.doors.jsonl import read_objects
from finetuner.doors.refusals import Refusals
from finetuner.errors import ContentError, LabelError, MatchDataError
from finetuner.packing import in_words, packed
from finetuner.packs import Pack

_KEYS = ("id", "text", "blob", "tags", "matches", "embedding")

Placed = tuple[str, Document]
"""Where a document is, and the document."""


def packs_of_documents(path: Path, refusals: Refusals) -> Iterator[Pack]:
    """Yield the match Documents of a file, one a line, as standalone packs.

    A document is an object with ``text`` or ``blob`` (numbers in lists), ``tags``, and ``matches``. Its ``id`` is by
    default the hash of its content. What is wrong with an anchor or one of its matches refuses the line.

    Args:
        path: The file.
        refusals: Told what is refused.

    Raises:
        SourceError: If the file is missing or no JSON Lines. What was read before is yielded first.
        LabelError: If refusals raise, and a label or weight is unfit.
        ContentError: If refusals raise, and a document is unfit.
    """
    documents = _Again(_documents(path, refusals))
    while not documents.is_through:
        try:
            for pack in packed(documents, standalone=True):
                documents.taken.clear()
                yield pack
        except (ContentError, LabelError) as error:
            # the document that was taken last is the one that cannot be packed; those before it can
            place, _ = documents.taken.pop()
            refusals.refuse(place, error)
            documents.take_again()
    if documents.fault is not None:
        raise documents.fault


class _Again:
    """Documents that can be taken again, up to a fault, which waits until all before it are packed."""

    def __init__(self, documents: Iterator[Placed]) -> None:
        self._documents = documents
        self._waiting: deque[Placed] = deque()
        self.taken: list[Placed] = []
        self.fault: MatchDataError | None = None
        self.is_through = False

    def __iter__(self) -> "_Again":
        return self

    def __next__(self) -> Document:
        self.taken.append(self._waiting.popleft() if self._waiting else self._next())
        return self.taken[-1][1]

    def _next(self) -> Placed:
        try:
            return next(self._documents)
        except MatchDataError as error:
            self.fault = error
        except StopIteration:
            pass
        self.is_through = True
        raise StopIteration

    def take_again(self) -> None:
        self._waiting.extendleft(reversed(self.taken))
        self.taken.clear()
        self.is_through = False


def _documents(path: Path, refusals: Refusals) -> Iterator[Placed]:
    reader = _DocumentReader()
    for line in read_objects(path):
        place = f"{path}:{line.number}"
        try:
            document = reader.read(line.object)
        except ContentError as error:
            refusals.refuse(place, error)
        else:
            yield place, document


class _DocumentReader:
    """Reads documents; all of a file hold the same kinds of content."""

    def __init__(self) -> None:
        self._texts, self._blobs = ContentReader(), ContentReader()
        self._kinds = ""

    def read(self, given: Mapping[str, Any]) -> Document:
        """Return an anchor with its matches.

        Raises:
            ContentError: If its form or a content is unfit.
        """
        matches = given.get("matches") or []
        if not isinstance(matches, list) or not all(isinstance(match, dict) for match in matches):
            raise ContentError("the matches are no list of documents")
        if any(match.get("matches") for match in matches):
            raise ContentError("a match has matches of its own; only anchors have")
        anchor = self._document(given)
        anchor.matches = [self._document(match) for match in matches]
        return anchor

    def _document(self, given: Mapping[str, Any]) -> Document:
        name, tags = given.get("id"), given.get("tags") or {}
        what = "a document without an id" if name is None else f"document {name!r}"
        odd = [key for key in given if key not in _KEYS]
        if odd:
            raise ContentError(
                f"{what} has {', '.join(map(repr, odd))}; it may have {', '.join(_KEYS)}, and a label in "
                "its tags under 'finetuner'"
            )
        if not isinstance(tags, dict):
            raise ContentError(f"{what}: the tags are a {type(tags).__name__}; they must be an object")
        text, blob = self._contents(given, what)
        if name is None:
            name = "".join(content_hash(content).hex() for content in (text, blob) if content is not None)
        return Document(text, blob, tags, id=read_id(name, what=what))

    def _contents(self, given: Mapping[str, Any], what: str) -> tuple[str | None, Array | None]:
        text, blob = given.get("text") or None, given.get("blob")
        kinds = in_words(kind for kind, content in (("text", text), ("blob", blob)) if content is not None)
        if text is None and blob is None:
            if given.get("id") is None:
                raise ContentError(f"{what} has no content either; give it a text or a blob")
            return None, None
        if text is not None and not isinstance(text, str):
            raise ContentError(f"{what}: the text is a {type(text).__name__}")
        if self._kinds and kinds != self._kinds:
            raise ContentError(f"{what} holds {kinds}, the first one {self._kinds}; all must hold the same")
        read_text = None if text is None else str(self._texts.read(text, what=what))
        read_blob = None if blob is None else np.asarray(self._blobs.read(blob, what=what))
        self._kinds = kinds
        return read_text, read_blob
