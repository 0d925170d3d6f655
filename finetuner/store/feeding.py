"""Packs into tables."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select, tuple_
from sqlalchemy.engine import Connection

from finetuner.errors import ContentError
from finetuner.pack_checks import check_follows
from finetuner.packs import Pack
from finetuner.store.content_rows import form_in_words, form_of
from finetuner.store.database import ROWS_ASKED, insert_new, rows_in
from finetuner.store.placing import NOWHERE, DocumentRows
from finetuner.store.report import FeedReport
from finetuner.store.sayings import Line, Pair, Said, news
from finetuner.store.schema import anchor_tags, anchors, collections, feeds, judgements, new_generation
from finetuner.store.scope import FeedScope


class FeedWriter:
    """Writes the packs of one feed, within one transaction.

    Args:
        connection: The transaction.
        collection: Name of the collection, which is made if it is not there.
        first: The first pack of the feed, which decides what a new collection holds.
        source: Who judges.
        at: When; now, if not given.
        refuse: Leave out documents that cannot be stored and tell it, instead of raising.

    Raises:
        ContentError: If there is no such collection, and no content in the first pack that could make it.
    """

    def __init__(
        self,
        connection: Connection,
        collection: str,
        first: Pack,
        *,
        source: str,
        at: datetime | None,
        refuse: bool,
    ) -> None:
        if first.carried:
            form = {"has_text": first.texts is not None, "blob_form": form_of(first.blobs)}
            new = {"name": collection, "generation": new_generation(), **form}
            insert_new(connection, collections, [new])
        # the lock orders the feeds of several processes, where the database allows more than one writer
        query = select(collections).where(collections.c.name == collection).with_for_update()
        found = connection.execute(query).one_or_none()
        if found is None:
            raise ContentError(
                f"document {first.ids[0]!r} comes without content, and there is no collection {collection!r} yet that "
                "could know it"
            )
        self._scope = FeedScope(connection, found, source=source, at=at)
        self._documents = DocumentRows(self._scope, refuse=refuse)
        self._places = 0
        self._counts: Counter[str] = Counter()

    def write(self, pack: Pack) -> None:
        """Store a pack.

        Raises:
            ContentError: If a document differs in kind or shape from the first of the collection, has an
                id that the collection knows with another content, or comes without content and is not known.
            StreamError: If a pack before it is missing.
        """
        check_follows(pack, len(self._documents.rows))
        self._documents.place(self._fitted(pack))
        self._documents.refer(pack)
        owner = np.repeat(self._documents.rows[pack.anchors], np.diff(pack.offsets))
        match = self._documents.rows[pack.matches]
        kept = np.flatnonzero((owner != NOWHERE) & (match != NOWHERE))
        old = self._store_anchors(pack)
        pairs = list(zip(owner[kept].tolist(), match[kept].tolist(), strict=True))
        self._store_judgements(pack, kept, pairs, old)
        self._counts["documents"] += len(pack.anchors)
        self._counts["refused"] += len(match) - len(kept) + self._documents.refused_alone(pack)

    def report(self) -> FeedReport:
        """Return what was brought until now."""
        documents = self._documents
        refusals = tuple(documents.refusals)
        return FeedReport(**self._counts, contents=documents.new_contents, refusals=refusals)

    def _fitted(self, pack: Pack) -> Pack:
        """Return a pack in the form that the collection keeps."""
        collection = self._scope.collection
        if not pack.carried:
            return pack
        if pack.blobs is not None and form_of(pack.blobs.astype(np.float32)) == collection.blob_form:
            # JSON writes 1.0 as 1
            pack = replace(pack, blobs=pack.blobs.astype(np.float32, copy=False))
        given = (pack.texts is not None, form_of(pack.blobs))
        wanted = (collection.has_text, collection.blob_form)
        if given != wanted:
            raise ContentError(
                f"document {pack.ids[0]!r} holds {form_in_words(*given)}; all of the collection {collection.name!r} must "
                f"hold {form_in_words(*wanted)} like its first document; feed it to another collection"
            )
        return pack

    def _store_anchors(self, pack: Pack) -> set[int]:
        """Store the anchors with their tags, and return those that were there before."""
        scope = self._scope
        given = self._documents.rows[pack.anchors].tolist()
        query = select(anchors.c.anchor).where(scope.within(anchors))
        old = {row.anchor for row in rows_in(scope.connection, query, anchors.c.anchor, set(given))}
        new = [row for row in dict.fromkeys(given) if row not in old and row != NOWHERE]
        if new:
            place, feed = scope.count_up(anchors.c.place, len(new)), scope.position
            rows = [{"place": place + at, "anchor": row, "feed": feed} for at, row in enumerate(new)]
            scope.insert(anchors, rows)
        if pack.anchor_tags is not None:
            tagged = zip(given, pack.anchor_tags, strict=True)
            self._store_anchor_tags({row: tags for row, tags in tagged if tags and row != NOWHERE})
        return old

    def _store_anchor_tags(self, given: Mapping[int, str]) -> None:
        scope = self._scope
        query = select(anchor_tags).where(scope.within(anchor_tags)).order_by(anchor_tags.c.feed)
        known = {row.anchor: row for row in rows_in(scope.connection, query, anchor_tags.c.anchor, given)}
        changed = {row: tags for row, tags in given.items() if row not in known or known[row].tags != tags}
        if not changed:
            return
        feed = scope.position
        # a feed tags an anchor once: its last tags hold
        mine = [row for row in changed if row in known and known[row].feed == feed]
        earlier = delete(anchor_tags).where(scope.within(anchor_tags), anchor_tags.c.feed == feed)
        scope.connection.execute(earlier.where(anchor_tags.c.anchor.in_(mine)))
        scope.insert(
            anchor_tags, [{"anchor": one, "feed": feed, "tags": tags} for one, tags in changed.items()]
        )

    def _store_judgements(
        self, pack: Pack, kept: NDArray[np.int64], pairs: Sequence[Pair], old: set[int]
    ) -> None:
        weights = [1.0] * len(pairs) if pack.weights is None else pack.weights[kept].tolist()
        tags = [""] * len(pairs) if pack.match_tags is None else [pack.match_tags[place] for place in kept]
        given = map(Line, pairs, pack.labels[kept].tolist(), weights, tags)
        said = self._said_of({pair for pair in pairs if pair[0] in old})
        lines, counts = news(given, said, source=self._scope.source)
        self._counts.update(counts)
        if not lines:
            return
        feed, place = self._scope.position, self._places
        self._places += len(lines)
        rows = [
            {
                "anchor": pair[0],
                "match": pair[1],
                "feed": feed,
                "place": place + at,
                "label": label if label == label else None,
                "weight": weight,
                "tags": tag,
            }
            for at, (pair, label, weight, tag) in enumerate(lines)
        ]
        self._scope.insert(judgements, rows)

    def _said_of(self, pairs: Iterable[Pair]) -> dict[Pair, Said]:
        brought = feeds.c.collection_id == judgements.c.collection_id
        query = (
            select(judgements, feeds.c.source)
            .join(feeds, brought & (feeds.c.position == judgements.c.feed))
            .where(self._scope.within(judgements))
            .order_by(judgements.c.feed, judgements.c.place)
        )
        key = tuple_(judgements.c.anchor, judgements.c.match)
        wanted = sorted(pairs)
        found: defaultdict[Pair, Said] = defaultdict(Said)
        for start in range(0, len(wanted), ROWS_ASKED):
            part = wanted[start : start + ROWS_ASKED]
            # the anchors once more: by pairs alone SQLite would walk through the whole collection
            of_anchors = judgements.c.anchor.in_({anchor for anchor, _ in part})
            rows = self._scope.connection.execute(query.where(of_anchors, key.in_(part))).all()
            for row in rows:
                found[row.anchor, row.match].add(row.source, row.label, row.weight, row.tags)
        return dict(found)
