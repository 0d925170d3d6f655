"""Documents of packs into rows of the collection."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import bindparam, select, update

from finetuner.contents import content_hash
from finetuner.documents import Array
from finetuner.errors import ContentError
from finetuner.packs import REFUSALS, Pack, Refusal
from finetuner.store.content_rows import content_row
from finetuner.store.database import AnyRow, insert_new, rows_in
from finetuner.store.schema import contents, documents
from finetuner.store.scope import FeedScope

NOWHERE = -1
"""The row of a document that was refused."""

Held = tuple[bytes | None, bytes | None]
"""The hashes of a document's text and array."""


class DocumentRows:
    """Finds the rows of documents, and makes those that are not there.

    Args:
        scope: The feed.
        refuse: Leave out a document that cannot be stored and tell it, instead of raising.

    Attributes:
        rows: The row of each document of the stream, int64; NOWHERE if it was refused.
        new_contents: How many contents no collection had before.
        refusals: Why documents were refused, for the first of them.
    """

    def __init__(self, scope: FeedScope, *, refuse: bool) -> None:
        self.rows = np.zeros(0, np.int64)
        self.new_contents = 0
        self.refusals: list[Refusal] = []
        self._scope = scope
        self._refuse = refuse
        self._lonely: set[int] = set()  # rows of the stream that nothing has referred to yet

    def place(self, pack: Pack) -> None:
        """Find or make the documents that a pack brings.

        Raises:
            ContentError: If an id is known with another content, or comes without content and is not known; unless
                that is to be refused.
        """
        hashes, known = _hashes(pack), self._known(pack.ids)
        rows = np.full(len(pack.ids), NOWHERE, np.int64)
        new: list[int] = []
        for number, name in enumerate(pack.ids):
            mine = hashes[number] if number < len(hashes) else None
            there = known.get(name)
            if there is not None and mine in (None, (there.text_hash, there.blob_hash)):
                rows[number] = there.row
            elif there is None and mine is not None:
                new.append(number)
            else:
                self._refuse_or_raise(name, is_known=there is not None)
        rows[new] = self._add(pack, new, hashes)
        self.rows = np.concatenate([self.rows[: pack.start], rows])
        lonely = {row.row for row in known.values() if row.referred is None}
        self._lonely = lonely.union(self._lonely if pack.start else (), rows[new].tolist())

    def refused_alone(self, pack: Pack) -> int:
        """Return how many documents of a pack were refused that are in none of its judgements."""
        judged = np.zeros(len(self.rows), np.bool_)
        judged[pack.matches] = judged[pack.anchors[np.diff(pack.offsets) > 0]] = True
        return int(((self.rows == NOWHERE) & ~judged)[pack.start :].sum())

    def refer(self, pack: Pack) -> None:
        """Note which of the stream's documents this feed is the first to refer to, as anchors or matches."""
        owner = np.repeat(self.rows[pack.anchors], np.diff(pack.offsets))
        matches = self.rows[pack.matches][owner != NOWHERE]
        first = self._lonely.intersection([*matches.tolist(), *self.rows[pack.anchors].tolist()])
        if first:
            change = (
                update(documents)
                .where(self._scope.within(documents), documents.c.row == bindparam("key"))
                .values(referred=self._scope.position)
            )
            self._scope.connection.execute(change, [{"key": row} for row in first])
            self._lonely -= first

    def _known(self, names: Sequence[str]) -> dict[str, AnyRow]:
        columns = [documents.c[name] for name in ("name", "row", "text_hash", "blob_hash", "referred")]
        query = select(*columns).where(self._scope.within(documents))
        return {row.name: row for row in rows_in(self._scope.connection, query, documents.c.name, names)}

    def _refuse_or_raise(self, name: str, *, is_known: bool) -> None:
        reason = "comes without content, and the collection does not know its id"
        if is_known:
            reason = (
                f"the collection {self._scope.collection.name!r} has that id with another content; an id names one "
                "content, so give the new content a new id"
            )
        if not self._refuse:
            raise ContentError(f"document {name!r}: {reason}")
        if len(self.refusals) < REFUSALS:
            self.refusals.append(Refusal(f"document {name!r}", reason))

    def _add(self, pack: Pack, new: Sequence[int], hashes: Sequence[Held]) -> "range":
        """Store some documents of a pack, and return their rows."""
        if not new:
            return range(0)
        self._add_contents(pack, new, hashes)
        first = self._scope.count_up(documents.c.row, len(new))
        feed = self._scope.position
        self._scope.insert(
            documents,
            [
                {
                    "row": first + place,
                    "name": pack.ids[number],
                    "text_hash": hashes[number][0],
                    "blob_hash": hashes[number][1],
                    "feed": feed,
                }
                for place, number in enumerate(new)
            ],
        )
        return range(first, first + len(new))

    def _add_contents(self, pack: Pack, new: Sequence[int], hashes: Sequence[Held]) -> None:
        wanted: dict[bytes, str | Array] = {}
        for number in new:
            text_hash, blob_hash = hashes[number]
            if text_hash is not None and pack.texts is not None:
                wanted[text_hash] = pack.texts[number]
            if blob_hash is not None and pack.blobs is not None:
                wanted[blob_hash] = pack.blobs[number]
        found = rows_in(self._scope.connection, select(contents.c.hash), contents.c.hash, wanted)
        for row in list(found):
            del wanted[row.hash]
        rows: list[dict[str, Any]] = [
            {"hash": one, **content_row(content)} for one, content in wanted.items()
        ]
        insert_new(self._scope.connection, contents, rows)
        self.new_contents += len(rows)


def _hashes(pack: Pack) -> list[Held]:
    none = [None] * pack.carried
    texts = none if pack.texts is None else [content_hash(text) for text in pack.texts]
    blobs = none if pack.blobs is None else [content_hash(blob) for blob in pack.blobs]
    return list(zip(texts, blobs, strict=True))
