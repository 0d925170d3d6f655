"""TREC collections: contents first, judgements by ids, in the forms of TREC and of BEIR."""

import json
from pathlib import Path

import pytest

from finetuner.doors import Door, read_qrels
from finetuner.errors import OptionError
from tests.door_files import judgements, reasons, until_fault

BEIR = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td1\t1\n"
TREC = "q1 0 d1 2\nq1 0 d2 0\nq2 0\td1 1\n"
JUDGED = [("q1", "d1", 2), ("q1", "d2", -1), ("q2", "d1", 1)]


def written(path: Path, data: str) -> Path:
    """Write a file."""
    path.write_text(data, encoding="utf-8")
    return path


def qrels(folder: Path, data: str, labels: dict[str, float] | None = None, *, strict: bool = False) -> Door:
    """Return a door to qrels alone."""
    return read_qrels(written(folder / "qrels", data), labels=labels, strict=strict)


@pytest.mark.parametrize(
    "data",
    [
        TREC,
        BEIR,
        BEIR.replace("\n", "\r\n"),
        "\n" + TREC,
        "score\tcorpus-id\tquery-id\n2\td1\tq1\n0\td2\tq1\n1\td1\tq2\n",
    ],
    ids=["trec", "beir", "windows", "empty line", "order"],
)
def test_qrels_judge_by_ids_alone(tmp_path: Path, data: str) -> None:
    """A relevance above 0 is the label, and 0 is judged irrelevant: -1."""
    [pack] = qrels(tmp_path, data).packs
    assert judgements([pack]) == JUDGED
    assert (pack.carried, pack.ids, len(pack.anchors)) == (0, ["q1", "d1", "d2", "q2"], 2)


def test_a_negative_relevance_is_irrelevant(tmp_path: Path) -> None:
    """TREC's -2 for junk is no stronger than 0."""
    assert [label for *_, label in judgements(qrels(tmp_path, "q 0 a -2\nq 0 b 3\n").packs)] == [-1, 3]


def test_labels_replace_what_a_relevance_means(tmp_path: Path) -> None:
    """A value that is not among them refuses its line."""
    door = qrels(tmp_path, "q 0 a 0\nq 0 b 1\nq 0 c 2\n", {"0": 0, "2": 1})
    assert judgements(door.packs) == [("q", "a", 0), ("q", "c", 1)]
    assert [one.place[-2:] for one in door.refusals] == [":2"]


def test_a_relevance_that_is_no_number_refuses_its_line(tmp_path: Path) -> None:
    """As in every table; an id that is empty, too."""
    assert [line for line, _ in reasons(qrels(tmp_path, "q 0 a high\nq 0 b 1\n"))] == ["1"]
    door = read_qrels(written(tmp_path / "qrels", BEIR + "\td1\t1\n"), query_prefix="q")
    assert reasons(door) == [("5", "column 'query-id' is empty; it needs an id")]
    assert [line for line, _ in reasons(qrels(tmp_path, BEIR + "\td1\t1\nq3\t\t1\n"))] == ["5", "6"]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("", ": the file is empty"),
        (TREC + "q3 d1 1\n", ":4: the line has 3 cells; qrels have 4"),
        (TREC + "q3 0 d1 1 run\n", ":4: the line has 5 cells"),
        (BEIR + "q3\td1\n", ":5: the line has 2 cells"),
    ],
)
def test_a_line_of_another_form_ends_the_reading(tmp_path: Path, data: str, fault: str) -> None:
    """After the judgements before it."""
    packs, message = until_fault(qrels(tmp_path, data))
    assert message.startswith(f"{tmp_path / 'qrels'}{fault}")
    assert judgements(packs) == (JUDGED if data else [])


def test_contents_come_first(tmp_path: Path) -> None:
    """Corpus, queries, judgements; BEIR's title stands before its text."""
    documents = [{"_id": "d1", "title": "Title", "text": "one"}, {"_id": "d2", "title": "two", "text": ""}]
    corpus = written(tmp_path / "corpus.jsonl", "".join(json.dumps(one) + "\n" for one in documents))
    queries = written(tmp_path / "queries.tsv", 'q1\tfirst "query"\nq2\tsecond\n')
    packs = list(read_qrels(written(tmp_path / "qrels", TREC), corpus=corpus, queries=queries).packs)
    assert [(list(pack.ids), pack.texts) for pack in packs[:2]] == [
        (["d1", "d2"], ["Title one", "two"]),
        (["q1", "q2"], ['first "query"', "second"]),
    ]
    assert judgements(packs) == JUDGED


def test_ids_of_queries_can_be_told_from_those_of_documents(tmp_path: Path) -> None:
    """Where both are numbered from 1, a prefix keeps them apart, in the queries and in the judgements."""
    corpus = written(tmp_path / "corpus.tsv", "1\tdocument\n")
    queries = written(tmp_path / "queries.tsv", "1\tquery\n")
    door = read_qrels(
        written(tmp_path / "qrels", "1 0 1 1\n"), corpus=corpus, queries=queries, query_prefix="q"
    )
    packs = list(door.packs)
    assert [pack.ids for pack in packs[:2]] == [["1"], ["q1"]]
    assert judgements(packs) == [("q1", "1", 1)]


def test_unfit_documents_are_refused(tmp_path: Path) -> None:
    """An empty id or text, and an id that comes again with another text."""
    corpus = written(tmp_path / "corpus.tsv", "a\tone\n\ttwo\nb\t\na\tother\nc\tthree\n")
    door = read_qrels(written(tmp_path / "qrels", TREC), corpus=corpus)
    packs = list(door.packs)
    assert packs[0].ids == ["a", "c"]
    assert [(one.place[-2:], one.reason.partition(";")[0]) for one in door.refusals] == [
        (":2", "the id is empty"),
        (":3", "document 'b' is empty"),
        (":4", "document 'a' comes twice with different contents"),
    ]


@pytest.mark.parametrize(
    ("name", "data", "fault"),
    [
        (
            "c.tsv",
            "a\tone\nb\ttwo\tthree\n",
            ":2: the line has 3 cells; an id, a tab and a text are expected",
        ),
        (
            "c.jsonl",
            '{"_id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n',
            ":2: there is no '_id'; there is 'id', 'text'",
        ),
        ("c.jsonl", '{"_id": "a", "text": "one"}\n{\n', ":2: the line is no JSON"),
    ],
)
def test_a_damaged_corpus_ends_the_reading(tmp_path: Path, name: str, data: str, fault: str) -> None:
    """After the documents before it, and before any judgement."""
    corpus = written(tmp_path / name, data)
    packs, message = until_fault(read_qrels(written(tmp_path / "qrels", TREC), corpus=corpus))
    assert [(pack.texts, len(pack.anchors)) for pack in packs] == [(["one"], 0)]
    assert message.startswith(f"{corpus}{fault}")


def test_a_corpus_of_another_format_is_refused(tmp_path: Path) -> None:
    """At once, before anything is read."""
    with pytest.raises(OptionError, match=r"c\.xml: documents come in \.jsonl or \.tsv"):
        read_qrels(tmp_path / "qrels", corpus=tmp_path / "c.xml")


def test_labels_must_be_finite(tmp_path: Path) -> None:
    """An option is told before anything is read, too."""
    with pytest.raises(OptionError, match="'2' is inf"):
        read_qrels(tmp_path / "qrels", labels={"2": float("inf")})
