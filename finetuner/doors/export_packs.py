"""Packs as the rows of two tables, and back."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from finetuner.packs import Pack

Columns = Mapping[str, Sequence[Any]]
"""Rows of a table, in columns."""

COLUMNS: Mapping[str, Sequence[str]] = {
    "documents": ("feed", "source", "time", "id", "text", "blob"),
    "judgements": (
        *("feed", "source", "time", "anchor_number", "anchor_id", "anchor_tags"),
        *("match_id", "label", "weight", "match_tags"),
    ),
}
"""The columns of each table."""


def documents_of(feed: int, source: str, at: datetime, pack: Pack) -> dict[str, list[Any]]:
    """Return the documents that a pack brings with their contents.

    Args:
        feed: The number of the feed.
        source: Who judged.
        at: When.
        pack: A standalone pack.
    """
    count = pack.carried
    return {
        "feed": [feed] * count,
        "source": [source] * count,
        "time": [at] * count,
        "id": list(pack.ids[:count]),
        "text": [None] * count if pack.texts is None else list(pack.texts),
        "blob": [None] * count if pack.blobs is None else list(pack.blobs),
    }


def judgements_of(feed: int, source: str, at: datetime, pack: Pack) -> dict[str, list[Any]]:
    """Return the matches of a pack, and its anchors without matches.

    Args:
        feed: The number of the feed.
        source: Who judged.
        at: When.
        pack: A standalone pack.
    """
    counts = np.diff(pack.offsets)
    rows = np.maximum(counts, 1)  # an anchor without matches has one row
    is_match = np.repeat(counts > 0, rows)
    places = np.where(
        is_match, np.cumsum(is_match) - 1, -1
    ).tolist()  # -1 is the None at the end of each list
    labels = [None if np.isnan(label) else label for label in pack.labels.tolist()]
    weights = [1.0] * len(labels) if pack.weights is None else pack.weights.tolist()
    match_tags = [tags or None for tags in pack.match_tags or [""] * len(labels)]
    anchor_tags = [tags or None for tags in pack.anchor_tags or [""] * len(counts)]
    of_match = {
        "match_id": [*(pack.ids[row] for row in pack.matches.tolist()), None],
        "label": [*labels, None],
        "weight": [*weights, None],
        "match_tags": [*match_tags, None],
    }
    numbers = np.repeat(np.arange(len(counts)), rows).tolist()
    return {
        "feed": [feed] * len(places),
        "source": [source] * len(places),
        "time": [at] * len(places),
        "anchor_number": numbers,
        "anchor_id": [pack.ids[row] for row in pack.anchors[numbers].tolist()],
        "anchor_tags": [anchor_tags[number] for number in numbers],
        **{name: [column[place] for place in places] for name, column in of_match.items()},
    }


def pack_of(documents: Columns, judgements: Columns) -> Pack:
    """Return the rows of one feed as a standalone pack.

    Raises:
        ValueError: If they do not fit together.
        TypeError: If they are of other types.
    """
    row_of = {name: row for row, name in enumerate(documents["id"])}
    numbers = np.array(judgements["anchor_number"], np.int64)
    starts = np.flatnonzero(np.append(True, np.diff(numbers) != 0)[: len(numbers)])
    anchor_ids = [judgements["anchor_id"][start] for start in starts.tolist()]
    judged = np.array([name is not None for name in judgements["match_id"]], bool)
    match_ids = [name for name in judgements["match_id"] if name is not None]
    for name in (*anchor_ids, *match_ids):
        row_of.setdefault(name, len(row_of))
    if not all(isinstance(name, str) for name in row_of):
        raise ValueError("a document has no id")
    labels = np.array(judgements["label"], np.float64)[judged]
    weights = np.array(judgements["weight"], np.float64)[judged]
    tags = [judgements["anchor_tags"][start] or "" for start in starts.tolist()]
    match_tags = [
        tags or "" for tags, is_match in zip(judgements["match_tags"], judged, strict=True) if is_match
    ]
    return Pack(
        start=0,
        ids=list(row_of),
        texts=_whole(documents["text"]),
        blobs=None if (blobs := _whole(documents["blob"])) is None else np.array(blobs),
        anchors=np.array([row_of[name] for name in anchor_ids], np.int64),
        offsets=np.append(0, np.cumsum(judged))[np.append(starts, len(judged))].astype(np.int64),
        matches=np.array([row_of[name] for name in match_ids], np.int64),
        labels=labels,
        weights=None if (weights == 1).all() else weights,
        anchor_tags=tags if any(tags) else None,
        match_tags=match_tags if any(match_tags) else None,
    )


def _whole(column: Sequence[Any]) -> list[Any] | None:
    """Return the contents of one kind, None if there are none."""
    there = [content is not None for content in column]
    if any(there) and not all(there):
        raise ValueError("some documents hold a content of a kind that others do not hold")
    return list(column) if any(there) else None
