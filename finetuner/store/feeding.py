"""Portions into tables."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, bindparam, insert, select, update
from sqlalchemy.engine import Connection

from finetuner.errors import ContentError
from finetuner.store.portions import Form, Held, Portion
from finetuner.store.schema import (
    anchors,
    candidates,
    collections,
    contents,
    documents,
    feeds,
    insert_new,
    judgements,
    rows_in,
)

Owned = tuple[int, int]
"""The keys of an owner (of the collection of an anchor, of the anchor of a candidate) and of a document."""


@dataclass(frozen=True)
class FeedReport:
    """What a feed brought.

    Attributes:
        documents: Match Documents read.
        contents: Contents that no collection had before.
        accepted: Judgements that are new.
        known: Judgements that the same source had given already, with the same label.
        contradicted: Of the accepted ones, those with another label than this or another source had given
            before. What this source had said is superseded; what another said stands beside it.
    """

    documents: int = 0
    contents: int = 0
    accepted: int = 0
    known: int = 0
    contradicted: int = 0


class FeedWriter:
    """Writes the portions of one feed, within one transaction."""

    def __init__(self, connection: Connection, collection: str, source: str) -> None:
        self._connection = connection
        self._collection = collection
        self._source = source
        self._collection_id: int | None = None
        self._feed_id: int | None = None
        self._counts = dict.fromkeys(FeedReport.__dataclass_fields__, 0)

    def write(self, portion: Portion) -> None:
        """Store a portion.

        Raises:
            ContentError: If a document differs in kind or shape from the first of the collection, or has an
                id that the collection knows with another content.
        """
        collection = self._open_collection(portion.forms)
        self._counts["documents"] += portion.read
        self._store_contents(portion.contents)
        key_of = self._store_documents(collection, portion.documents)
        anchor_of, old_anchors = self._store_tagged(
            anchors.c.collection_id,
            {(collection, key_of[name]): tags for name, tags in portion.anchors.items()},
            (anchors.c.document_id, [key_of[name] for name in portion.anchors]),
        )
        pairs = {
            pair: (anchor_of[collection, key_of[pair[0]]], key_of[pair[1]]) for pair in portion.candidates
        }
        candidate_of, old_candidates = self._store_tagged(
            candidates.c.anchor_id,
            {pairs[pair]: tags for pair, tags in portion.candidates.items()},
            (candidates.c.anchor_id, old_anchors),
        )
        held = self._held_labels(old_candidates)
        self._store_judgements(
            [(candidate_of[pairs[pair]], label) for pair, label in portion.judgements], held
        )

    def report(self) -> FeedReport:
        """Return what was brought until now."""
        return FeedReport(**self._counts)

    def _open_collection(self, forms: Mapping[Form, str]) -> int:
        first = next(iter(forms))
        row = {"name": self._collection, "has_text": first.has_text, "blob_form": first.blob}
        insert_new(self._connection, collections, [row])
        # the lock orders the feeds of several processes, where the database allows more than one writer
        query = select(collections).where(collections.c.name == self._collection).with_for_update()
        found = self._connection.execute(query).one()
        for form, document in forms.items():
            lacks_text = found.has_text and not form.has_text
            if lacks_text or (found.blob_form is not None and form.blob != found.blob_form):
                raise ContentError(
                    f"document {document!r} holds {_in_words(form.has_text, form.blob)}; all of the collection "
                    f"{self._collection!r} must hold {_in_words(found.has_text, found.blob_form)} like its first "
                    "document; feed it to another collection"
                )
        self._collection_id = int(found.id)
        return self._collection_id

    def _store_contents(self, rows: Mapping[bytes, Mapping[str, Any]]) -> None:
        found = rows_in(self._connection, select(contents.c.hash), contents.c.hash, rows)
        known = {row.hash for row in found}
        new = [row for digest, row in rows.items() if digest not in known]
        insert_new(self._connection, contents, new)
        self._counts["contents"] += len(new)

    def _store_documents(self, collection: int, wanted: Mapping[str, Held]) -> dict[str, int]:
        query = select(documents).where(documents.c.collection_id == collection)
        key_of = {}
        for row in rows_in(self._connection, query, documents.c.name, wanted):
            if wanted[row.name] != (row.text_hash, row.blob_hash):
                raise ContentError(
                    f"document {row.name!r}: the collection {self._collection!r} has that id with another "
                    "content; an id names one content, so give the new content a new id"
                )
            key_of[row.name] = row.id
        new = {name: held for name, held in wanted.items() if name not in key_of}
        rows = [{"collection_id": collection, "name": name, **held._asdict()} for name, held in new.items()]
        return {**key_of, **dict(zip(new, self._insert(documents.c.id, rows), strict=True))}

    def _store_tagged(
        self, owner: "Column[Any]", wanted: Mapping[Owned, str], known: tuple["Column[Any]", Iterable[int]]
    ) -> tuple[dict[Owned, int], list[int]]:
        """Store anchors or candidates with their tags, of which the newest hold.

        Args:
            owner: The column of the owner, in the table to fill.
            wanted: Tags as JSON, or nothing if none were given.
            known: A column, and the values in it that rows may have that are there already.

        Returns:
            The keys of all that are wanted, and of them those that were there before.
        """
        table = owner.table
        query = select(table.c.id, owner.label("owner"), table.c.document_id, table.c.tags)
        key_of, changed = {}, []
        for row in rows_in(self._connection, query, *known):
            tags = wanted.get((row.owner, row.document_id))
            if tags is not None:
                key_of[row.owner, row.document_id] = row.id
            if tags and tags != row.tags:
                changed.append({"key": row.id, "new_tags": tags})
        if changed:
            change = update(table).where(table.c.id == bindparam("key")).values(tags=bindparam("new_tags"))
            self._connection.execute(change, changed)
        old = list(key_of.values())
        new = [owned for owned in wanted if owned not in key_of]
        rows = [{owner.name: one[0], "document_id": one[1], "tags": wanted[one]} for one in new]
        key_of.update(zip(new, self._insert(table.c.id, rows), strict=True))
        return key_of, old

    def _insert(self, key: "Column[Any]", rows: list[dict[str, Any]]) -> list[int]:
        if not rows:
            return []
        statement = insert(key.table).returning(key, sort_by_parameter_order=True)
        return list(self._connection.execute(statement, rows).scalars())

    def _held_labels(self, keys: Iterable[int]) -> dict[int, dict[str, float]]:
        query = (
            select(judgements.c.candidate_id, feeds.c.source, judgements.c.label)
            .join(feeds, feeds.c.id == judgements.c.feed_id)
            .order_by(judgements.c.id)
        )
        held: dict[int, dict[str, float]] = {}
        for row in rows_in(self._connection, query, judgements.c.candidate_id, keys):
            held.setdefault(row.candidate_id, {})[row.source] = row.label
        return held

    def _store_judgements(
        self, given: Iterable[tuple[int, float]], held: dict[int, dict[str, float]]
    ) -> None:
        rows = []
        for candidate, label in given:
            said = held.setdefault(candidate, {})
            if said.get(self._source) == label:
                self._counts["known"] += 1
                continue
            self._counts["accepted"] += 1
            self._counts["contradicted"] += any(other != label for other in said.values())
            said[self._source] = label
            rows.append({"candidate_id": candidate, "feed_id": self._feed(), "label": label})
        if rows:
            self._connection.execute(insert(judgements), rows)

    def _feed(self) -> int:
        if self._feed_id is None:
            row = {"collection_id": self._collection_id, "source": self._source, "fed_at": datetime.now(UTC)}
            (self._feed_id,) = self._insert(feeds.c.id, [row])
        return self._feed_id


def _in_words(has_text: bool, blob: str | None) -> str:
    parts = ([".text"] if has_text else []) + ([f".blob {blob}"] if blob is not None else [])
    return " and ".join(parts)
