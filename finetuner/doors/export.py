"""Match data out into a folder of plain tables, and back in.

<folder>/documents.parquet     feed, source, time, id, text, blob (with dtype and shape): each content where it came
<folder>/judgements.parquet    feed, source, time, anchor_number, anchor_id, anchor_tags, match_id, label, weight,
                               match_tags: a row a match; an anchor without matches has a row without a match
<folder>/export.json           the version of this layout, the format, and counts; a folder without it is incomplete

In the format ``jsonl`` both tables are JSON Lines instead, and a blob is nested lists. ``feed`` counts what was fed, in
its order, and ``anchor_number`` the anchors of a feed. A label is null where nobody judged. Tags are JSON.
"""

import heapq
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal, NamedTuple

from finetuner.documents import Array
from finetuner.doors import parquet
from finetuner.doors.export_packs import COLUMNS, Columns, documents_of, judgements_of, pack_of
from finetuner.doors.export_tables import FORMATS, TableWriter
from finetuner.durable import sync, sync_tree
from finetuner.errors import OptionError, SourceError
from finetuner.packs import BYTES, MATCHES, Feed

VERSION = 1
"""Of the layout."""

_ROWS = 8 * MATCHES  # that are written together

Format = Literal["parquet", "jsonl"]


class Exported(NamedTuple):
    """What an export holds.

    Attributes:
        feeds: Portions that were fed.
        documents: Rows of the table of documents.
        judgements: Rows of the table of judgements.
    """

    feeds: int
    documents: int
    judgements: int


def write_export(feeds: Iterable[Feed], folder: Path, format: Format = "parquet") -> Exported:
    """Write feeds into a new folder, which is there when it is complete.

    Args:
        feeds: Who judged, when (with a time zone), and what, as standalone packs; read one by one.
        folder: Where to; it must not be there.
        format: Of the tables.

    Raises:
        OptionError: If the folder is there, or it shall be Parquet and pyarrow is not installed.
        SourceError: If it cannot be written.
    """
    if folder.exists():
        raise OptionError(f"{folder}: this is there already; name a folder that is not")
    if format == "parquet":
        parquet.pyarrow()
    aside = folder.with_name(f".{folder.name}.{token_hex(4)}.part")
    try:
        aside.mkdir(parents=True)
        exported = _write(feeds, aside, format)
        about = {"version": VERSION, "format": format, **exported._asdict()}
        (aside / "export.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        sync_tree(aside)
        aside.rename(folder)
        sync(folder.parent)
    except ConnectionError:
        raise  # an OSError too, and about where the feeds come from
    except OSError as error:
        raise SourceError(f"{folder}: this cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return exported


def read_export(folder: Path) -> Iterator[Feed]:
    """Return the feeds of an exported folder, which are read while they are asked for.

    Raises:
        OptionError: If it is Parquet, and pyarrow is not installed.
        SourceError: If the folder is incomplete, of another layout, or damaged; the last, while it is read.
    """
    about = _read_about(folder)
    if about["format"] == "parquet":
        parquet.pyarrow()
    return _read(folder, about)


class _Rows:
    """Gathers rows of a table until there are enough to be written together."""

    def __init__(self, writer: TableWriter) -> None:
        self._writer = writer
        self.count = 0
        self._begin()

    def _begin(self) -> None:
        self._columns: dict[str, list[Any]] = {}
        self._held = 0
        self._size = 0  # bytes

    def add(self, columns: Columns, size: int) -> None:
        for name, column in columns.items():
            self._columns.setdefault(name, []).extend(column)
        self.count += len(columns["feed"])
        self._held += len(columns["feed"])
        self._size += size
        if self._held >= _ROWS or self._size >= BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            self._writer.write(self._columns)
        self._begin()

    def close(self) -> None:
        self._flush()
        self._writer.close()


def _write(feeds: Iterable[Feed], folder: Path, format: Format) -> Exported:
    count = 0
    with ExitStack() as stack:
        documents, judgements = (
            stack.enter_context(closing(_Rows(FORMATS[format].writer(folder / f"{table}.{format}", table))))
            for table in COLUMNS
        )
        for source, at, pack in feeds:
            assert pack.start == 0, "only standalone packs can be read alone"
            fed = (count, source, at.astimezone(UTC), pack)
            documents.add(documents_of(*fed), sum(map(len, pack.texts or ())) + _bytes_of(pack.blobs))
            judgements.add(judgements_of(*fed), sum(map(len, pack.match_tags or ())))
            count += 1
    return Exported(count, documents.count, judgements.count)


def _bytes_of(blobs: Array | None) -> int:
    return 0 if blobs is None else blobs.nbytes


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / "export.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        version, _, _ = about["version"], FORMATS[about["format"]], [int(about[name]) for name in COLUMNS]
    except FileNotFoundError as error:
        raise SourceError(
            f"{folder}: there is no export.json: this is no export, or an incomplete one"
        ) from error
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SourceError(f"{path}: this does not describe an export: {error!r}") from error
    if version != VERSION:
        raise SourceError(f"{path}: the version of the layout is {version!r}; this Finetuner reads {VERSION}")
    return dict(about)


def _read(folder: Path, about: Mapping[str, Any]) -> Iterator[Feed]:
    read, counts = FORMATS[about["format"]].read, dict.fromkeys(COLUMNS, 0)
    tables = []
    for table in COLUMNS:
        path = folder / f"{table}.{about['format']}"
        if about[table]:  # a table without rows is an empty file
            tables.append(_by_feed(path, table, read(path, table), counts))
    for feed, parts in groupby(heapq.merge(*tables, key=itemgetter(0)), key=itemgetter(0)):
        found = {table: columns for _, table, columns in parts}
        some = next(iter(found.values()))
        try:
            pack = pack_of(*(found.get(table, dict.fromkeys(COLUMNS[table], ())) for table in COLUMNS))
            yield Feed(some["source"][0], some["time"][0].astimezone(UTC), pack)
        except (TypeError, ValueError, AttributeError) as error:
            raise SourceError(f"{folder}: feed {feed} is damaged: {error}") from error
    for table, count in counts.items():
        if count != about[table]:
            raise SourceError(f"{folder}: there are {count} {table}, and export.json tells {about[table]}")


def _by_feed(
    path: Path, table: str, batches: Iterator[Columns], counts: dict[str, int]
) -> Iterator[tuple[int, str, Columns]]:
    """Yield the rows of each feed, and count them."""
    held: dict[str, list[Any]] = {}
    for columns in batches:
        counts[table] += len(columns["feed"])
        for start, end in _runs(columns["feed"]):
            part = {name: list(column[start:end]) for name, column in columns.items()}
            feed = part["feed"][0]
            if held and held["feed"][0] == feed:
                for name, column in part.items():
                    held[name] += column
                continue
            if not isinstance(feed, int) or (held and feed < held["feed"][0]):
                raise SourceError(
                    f"{path}: feed {feed!r} is out of order; the rows must stay as they were written"
                )
            if held:
                yield held["feed"][0], table, held
            held = part
    if held:
        yield held["feed"][0], table, held


def _runs(values: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Yield where each run of equal values starts and ends."""
    starts = [place for place in range(len(values)) if not place or values[place] != values[place - 1]]
    return pairwise([*starts, len(values)])
