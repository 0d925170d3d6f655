"""Documents of a collection by id, where judgements do not matter."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from finetuner.contents import ContentRows, Contents
from finetuner.documents import ContentKind
from finetuner.errors import ContentError, MatchDataError
from finetuner.matches import Rows
from finetuner.pack_checks import check_follows
from finetuner.packs import Pack


class Collection(NamedTuple):
    """Documents of a collection.

    Attributes:
        names: Their ids, D.
        rows: Which content each has, (D,).
        contents: Each content once, N.
        hashes: Their hashes, uint8 (N, 16).
    """

    names: list[str]
    rows: Rows
    contents: Contents
    hashes: NDArray[np.uint8]


class Collected:
    """The documents of a collection by id, and their contents, each once.

    Args:
        kind: Which content to take of them.
        floats: Take integers as float32 numbers, not as token ids.
        anchors: Whether anchors count as documents that are not matches as well.
    """

    def __init__(self, kind: ContentKind, *, floats: bool, anchors: bool) -> None:
        self._contents = ContentRows(kind, floats=floats)
        self._anchors = anchors
        self._stream: list[tuple[str, int]] = []  # id and content of each row of the stream
        self._found: dict[str, int] = {}

    def extend(self, pack: Pack) -> None:
        """Take in the next pack of a stream.

        Raises:
            ContentError: If a content is missing, or differs in shape or dtype from the first.
            StreamError: If a pack before it is missing.
        """
        check_follows(pack, len(self._stream))
        del self._stream[pack.start :]
        contents = pack.texts if self._contents.kind == "text" else pack.blobs
        if pack.ids and (contents is None or len(contents) < len(pack.ids)):
            raise ContentError(
                f"document {pack.ids[-1]!r} has no .{self._contents.kind}, which is needed here"
            )
        new = zip(pack.ids, () if contents is None else contents, strict=True)
        self._stream += [(name, self._contents.append(content, name)) for name, content in new]
        for rows in (pack.anchors, pack.matches) if self._anchors else (pack.matches,):
            self._found.update(self._stream[row] for row in np.unique(rows))

    def finish(self) -> Collection:
        """Return the documents; nothing may be taken in any more.

        Raises:
            MatchDataError: If there is none.
        """
        if not self._found:
            raise MatchDataError("the collection holds no document that could be embedded")
        contents, _, hashes = self._contents.finish()
        rows = np.array(list(self._found.values()), np.int64)
        return Collection(list(self._found), rows, contents, hashes)
