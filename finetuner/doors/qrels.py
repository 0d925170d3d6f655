"""Judgements as TREC keeps them: qrels, with a corpus and queries in files of their own.

The qrels are either TREC's (query, iteration, document, relevance, parted by spaces) or BEIR's (a TSV file with the
header ``query-id corpus-id score``). A corpus or queries are either BEIR's (JSON Lines with ``_id``, ``title`` and
``text``) or TSV without a header, an id and a text a line.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from finetuner.doors.cells import ContentReader, read_id, read_label
from finetuner.doors.door import Door
from finetuner.doors.gathering import DocumentGatherer, packs_of_rows
from finetuner.doors.jsonl import read_objects
from finetuner.doors.judging import Judge
from finetuner.doors.lines import read_lines
from finetuner.doors.portions import Portion, in_portions
from finetuner.doors.refusals import Refusals
from finetuner.doors.roles import Roles
from finetuner.errors import ContentError, OptionError, SourceError
from finetuner.packs import Pack

_HEADER = ["query-id", "corpus-id", "score"]


def read_qrels(
    qrels: Path,
    *,
    corpus: Path | None = None,
    queries: Path | None = None,
    labels: Mapping[str, float] | None = None,
    query_prefix: str = "",
    strict: bool = False,
) -> Door:
    """Return a door to a TREC collection: first its contents, then its judgements, by ids alone.

    Args:
        qrels: The judgements. A relevance above 0 is the label; 0 and less is judged irrelevant, label -1.
        corpus: The contents of the documents; None if the collection knows them.
        queries: The contents of the queries, in the same way.
        labels: What the values of the relevance mean as numbers, instead; a row with another value is refused.
        query_prefix: Put before the id of each query, where queries and documents share ids that name both.
        strict: Whether the first row that cannot be taken ends the reading with its error.

    Raises:
        OptionError: If the suffix of corpus or queries is neither ``.jsonl`` nor ``.tsv``, or a label is unfit.
    """
    refusals = Refusals(strict=strict)
    columns = {"anchor_id": _HEADER[0], "match_id": _HEADER[1], "label": _HEADER[2]}
    roles = Roles.parse({**columns, "labels": labels}, where=f"{qrels}")
    judge = Judge(roles, refusals, read_label=_read_relevance if labels is None else None)
    contents = [
        _packs_of_texts(path, _rows_of(path), prefix, refusals)
        for path, prefix in ((corpus, ""), (queries, query_prefix))
        if path is not None
    ]
    judgements = packs_of_rows(_portions(qrels, query_prefix), judge, refusals)
    return Door(chain(*contents, judgements), refusals)


def _read_relevance(value: Any) -> float:
    label = read_label(value)
    return -1.0 if label <= 0 else label


def _portions(path: Path, query_prefix: str) -> Iterator[Portion]:
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        raise SourceError(f"{path}: the file is empty; each line must be a judgement")
    header = first[1].split()
    is_beir = sorted(header) == sorted(_HEADER)
    cells = _cells(path, lines, 3, "\t") if is_beir else _cells(path, chain([first], lines), 4, None)
    places = [header.index(name) for name in _HEADER] if is_beir else [0, 2, 3]

    def rows() -> Iterator[tuple[int, list[str], int]]:
        for number, line in cells:
            query, document, relevance = (line[place] for place in places)
            yield number, [query and query_prefix + query, document, relevance], len(query) + len(document)

    yield from in_portions(rows(), _HEADER, where=f"{path}:")


def _cells(
    path: Path, lines: Iterable[tuple[int, str]], width: int, delimiter: str | None
) -> Iterator[tuple[int, list[str]]]:
    for number, line in lines:
        cells = line.strip("\r\n").split(delimiter)
        if not any(cells):
            continue
        if len(cells) != width:
            raise SourceError(
                f"{path}:{number}: the line has {len(cells)} cells; qrels have 4 (query, 0, document, relevance), or "
                f"3 parted by tabs below the header {' '.join(_HEADER)}"
            )
        yield number, cells


def _rows_of(path: Path) -> Iterator[tuple[int, Any, Any]]:
    """Return line, id and text of each document of a file."""
    readers = {".jsonl": _beir_rows, ".tsv": _tsv_rows}
    if path.suffix.lower() not in readers:
        raise OptionError(f"{path}: documents come in {' or '.join(readers)}, not in {path.suffix!r}")
    return readers[path.suffix.lower()](path)


def _beir_rows(path: Path) -> Iterator[tuple[int, Any, Any]]:
    for line in read_objects(path):
        missing = [name for name in ("_id", "text") if name not in line.object]
        if missing:
            raise SourceError(
                f"{path}:{line.number}: there is no {', '.join(map(repr, missing))}; there is "
                f"{', '.join(map(repr, line.object)) or 'nothing'}"
            )
        title, text = line.object.get("title"), line.object["text"]
        yield line.number, line.object["_id"], f"{title} {text or ''}".strip() if title else text


def _tsv_rows(path: Path) -> Iterator[tuple[int, Any, Any]]:
    for number, line in read_lines(path):
        cells = line.strip("\r\n").split("\t")
        if not any(cells):
            continue
        if len(cells) != 2:
            raise SourceError(
                f"{path}:{number}: the line has {len(cells)} cells; an id, a tab and a text are expected"
            )
        yield number, cells[0], cells[1]


def _packs_of_texts(
    path: Path, rows: Iterator[tuple[int, Any, Any]], prefix: str, refusals: Refusals
) -> Iterator[Pack]:
    reader, gatherer = ContentReader(), DocumentGatherer(refusals)
    try:
        for number, given, text in rows:
            place = f"{path}:{number}"
            try:
                name = prefix + read_id(given, what="the id")
                content = reader.read(text, what=f"document {name!r}")
            except ContentError as error:
                refusals.refuse(place, error)
            else:
                yield from gatherer.add(place, name, content)
    except SourceError:
        yield from gatherer.rest()
        raise
    yield from gatherer.rest()
