"""Covid QA match Documents: which answers come, as what, and which rows are on which side."""

import csv
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.documents import Document, label_of
from finetuner.errors import OptionError, SourceError
from finetuner.matches import MatchSet
from finetuner.sources import covid_qa
from finetuner.sources.covid_qa import CovidQaOptions, QuestionsAndAnswers, match_documents
from finetuner.sources.folders import source_folder
from finetuner.sources.words import words_of
from tests.file_server import FileServer

COLUMNS = ["question", "answer", "wrong_answer"]


def _documents(folder: Path | None = None, **given: Any) -> list[Document]:
    return list(match_documents(CovidQaOptions.parse(given, where="test"), folder=folder))


def _written(folder: Path, rows: Sequence[Sequence[str]]) -> Path:
    with (folder / "dataset.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return folder


def _bundled() -> list[dict[str, str]]:
    with (source_folder("covid_qa") / "dataset.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def _naive_words(text: str) -> tuple[str, ...]:
    return tuple("".join(one if one.isalnum() else " " for one in text.lower()).split())


def _texts(anchor: Document) -> list[str]:
    return [str(match.text) for match in anchor.matches]


pytestmark = pytest.mark.usefixtures("covid_qa_read_once")
FOUR = [[f"question {n}{n}", f"answer {n}", f"wrong {n}"] for n in range(4)]


def test_matches_are_the_answer_the_wrong_answer_and_others() -> None:
    """One positive comes first, the row's own wrong answer second, other answers of the side after."""
    anchors = _documents(num_neg=4, pos_value=2, neg_value=-3)
    answers = {anchor.tags["answer"] for anchor in anchors}
    for anchor in anchors:
        assert _texts(anchor)[:2] == [anchor.tags["answer"], anchor.tags["wrong_answer"]]
        assert set(_texts(anchor)[2:]) <= answers
        assert [label_of(match) for match in anchor.matches] == [2, -3, -3, -3, -3]


@pytest.mark.parametrize(("num_neg", "negatives"), [(0, 1), (1, 1), (2, 2), (7, 7)])
def test_the_wrong_answer_always_comes(num_neg: int, negatives: int) -> None:
    """The number of negatives is what is asked for, and at least one."""
    assert {len(anchor.matches) for anchor in _documents(num_neg=num_neg)} == {1 + negatives}


def test_no_two_matches_of_an_anchor_have_the_same_words() -> None:
    """With as many negatives as there can be, none equals the answer, the wrong answer or another one."""
    for is_testset in (False, True):
        for anchor in _documents(num_neg=130, is_testset=is_testset, to_ndarray=False):
            assert len({_naive_words(text) for text in _texts(anchor)}) == 131


def test_an_equal_answer_of_another_row_is_no_negative(tmp_path: Path) -> None:
    """Punctuation and case do not make another answer, nor is the own wrong answer drawn once more."""
    rows = [
        ["What now?", "Wash hands.", "Go out!"],
        ["And then?", "wash HANDS", "Go away."],
        ["Why?", "go out", "No"],
    ]
    anchor = _documents(_written(tmp_path, [*rows, ["Who?", "You", "Me"]]), num_neg=2, is_testset=None)[0]
    assert _texts(anchor) == ["Wash hands.", "Go out!", "You"]


@pytest.mark.parametrize("seed", range(5))
def test_the_answer_to_nearly_the_same_question_is_no_negative(tmp_path: Path, seed: int) -> None:
    """What answers the question in other words is right, whatever row it is in and whatever is drawn."""
    rows = [
        ["Can I do it here now?", "Yes", "Cake"],
        ["Can I do it now, here?", "Surely", "Tea"],
        ["Who?", "You", "Me"],
    ]
    anchor = _documents(_written(tmp_path, rows), num_neg=2, is_testset=None, seed=seed)[0]
    assert _texts(anchor) == ["Yes", "Cake", "You"]


def test_an_answer_that_two_rows_share_is_one_negative(tmp_path: Path) -> None:
    """It is drawn once, and counts once for how many there are."""
    folder = _written(
        tmp_path, [["q a", "one", "x"], ["q b", "two", "y"], ["q c", "Two!", "z"], ["q d", "four", "w"]]
    )
    with pytest.raises(OptionError, match="give at most 3"):
        _documents(folder, num_total=1, num_neg=4, is_testset=None)
    (anchor,) = _documents(folder, num_total=1, num_neg=3, is_testset=None)
    assert sorted(_texts(anchor)[2:]) == ["four", "two"]


def test_an_anchor_keeps_its_row_and_a_match_only_its_label() -> None:
    """Tags of anchors are the cells of the table, those of matches hold the label key alone."""
    rows = {row["question"]: row for row in _bundled()}
    for anchor in _documents():
        assert anchor.tags == rows[str(anchor.text)]
        assert [list(match.tags) for match in anchor.matches] == [["finetuner"]] * 6
        assert [list(match.tags["finetuner"]) for match in anchor.matches] == [["label"]] * 6


def test_documents_already_yielded_never_change() -> None:
    """An answer that is right here and wrong there keeps both labels, in documents of their own."""
    seen = [(anchor, repr(anchor)) for anchor in match_documents(CovidQaOptions(num_total=30))]
    assert all(repr(anchor) == before for anchor, before in seen)
    every = [document for anchor, _ in seen for document in (anchor, *anchor.matches)]
    assert len({id(document.tags) for document in every}) == len(every)


def test_both_sides_share_one_vocabulary() -> None:
    """Ids on either side are those of a naive count over the whole file: two or more, ids from 2, in order."""
    words = [word for row in _bundled() for column in COLUMNS for word in _naive_words(row[column])]
    counts = Counter(words)
    ids = {word: 2 + index for index, word in enumerate(word for word in counts if counts[word] >= 2)}
    for is_testset in (False, True):
        for anchor in _documents(is_testset=is_testset):
            for document in (anchor, *anchor.matches):
                known = [ids.get(word, 1) for word in _naive_words(str(document.text))][-100:]
                assert document.blob is not None
                assert document.blob.tolist() == [0] * (100 - len(known)) + known


def test_text_and_blob_are_both_there() -> None:
    """With arrays the text stays; the blob is int64 of the length asked for."""
    anchor = _documents(max_seq_len=7)[0]
    for document in (anchor, *anchor.matches):
        assert document.text
        assert document.blob is not None
        assert document.blob.shape == (7,)
        assert document.blob.dtype == np.int64


def test_without_arrays_there_is_only_text() -> None:
    """No blob is made that nobody asked for."""
    anchor = _documents(to_ndarray=False)[0]
    assert [document.blob for document in (anchor, *anchor.matches)] == [None] * 7


def test_sides_are_those_that_the_card_states() -> None:
    """The bundled rows are 150 for training and 139 for the test, each on one side."""
    train, test, both = (
        [anchor.id for anchor in _documents(is_testset=side, num_neg=0)] for side in (False, True, None)
    )
    assert (len(train), len(test), len(both)) == (150, 139, 289)
    assert set(train) | set(test) == set(both)


def test_a_row_on_its_own_is_trained_on_if_it_is_odd(tmp_path: Path) -> None:
    """Rows count from 0 for this, as they do in ids."""
    folder = _written(tmp_path, FOUR)
    assert [anchor.id for anchor in _documents(folder, num_neg=0)] == [
        "covid_qa/1/question",
        "covid_qa/3/question",
    ]
    assert [anchor.text for anchor in _documents(folder, num_neg=0, is_testset=True)] == [
        "question 00",
        "question 22",
    ]


@pytest.mark.parametrize("column", ["question", "answer"])
def test_rows_that_say_nearly_the_same_are_on_one_side(column: str) -> None:
    """No question, and no answer, shares 80 % of its words with one of the other side."""
    train, test = (
        [set(_naive_words(anchor.tags[column])) for anchor in _documents(is_testset=side, num_neg=0)]
        for side in (False, True)
    )
    assert max(len(one & other) / len(one | other) for one in train for other in test) < 0.8


def test_a_copy_follows_the_first(tmp_path: Path) -> None:
    """An even row with the question of an odd one is trained on, and so is what shares an answer with it."""
    rows = [
        *FOUR[:2],
        ["Question: 11!", "another", "no"],
        ["question 33", "wrong", "no"],
        ["q 4", "Another.", "no"],
    ]
    anchors = _documents(_written(tmp_path, rows), num_neg=0)
    assert [anchor.id for anchor in anchors] == [f"covid_qa/{row}/question" for row in (1, 2, 3, 4)]


def test_ids_name_the_text(tmp_path: Path) -> None:
    """A match that is an answer of the file has the id of that answer, whoever it is shown to."""
    rows = [["q a", "one", "two"], ["q b", "two", "three"]]
    one, two = _documents(_written(tmp_path, rows), num_neg=1, is_testset=None)
    assert [match.id for match in one.matches] == ["covid_qa/0/answer", "covid_qa/1/answer"]
    assert [match.id for match in two.matches] == ["covid_qa/1/answer", "covid_qa/1/wrong_answer"]


def test_one_id_is_one_text() -> None:
    """No two texts of the bundled set share an id."""
    anchors = _documents(is_testset=None, num_neg=50, to_ndarray=False)
    every = {(document.id, document.text) for anchor in anchors for document in (anchor, *anchor.matches)}
    assert len({name for name, _ in every}) == len(every)


def test_all_there_is_comes_with_one_line_that_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """Asking for 481 anchors of a side of 150 yields 150, and is told once."""
    assert len(_documents()) == 150
    (record,) = caplog.records
    assert "num_total is 481" in record.getMessage()
    assert "holds 150 questions" in record.getMessage()


def test_num_total_is_within_reach(caplog: pytest.LogCaptureFixture) -> None:
    """With both sides, as many come as the file has rows."""
    assert len(_documents(num_total=289, is_testset=None)) == 289
    assert caplog.records == []


def test_rows_that_teach_nothing_are_left_out_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty text, or a wrong answer that is the answer, is told with its lines; other rows keep their numbers."""
    rows = [FOUR[0], ["", "a", "b"], ["q", "...", "b"], ["q", "same", "Same!"], *FOUR[1:3]]
    anchors = _documents(_written(tmp_path, rows), num_total=3, num_neg=0, is_testset=None)
    assert [anchor.id for anchor in anchors] == [f"covid_qa/{row}/question" for row in (0, 4, 5)]
    (record,) = caplog.records
    assert "3 rows are left out" in record.getMessage()
    assert "(line 3, 4, 5)" in record.getMessage()


def test_table_without_a_usable_row_is_a_source_error(tmp_path: Path) -> None:
    """A file that yields nothing is refused, not read as an empty set."""
    with pytest.raises(SourceError, match=r"dataset\.csv: there is no row"):
        match_documents(CovidQaOptions(), folder=_written(tmp_path, [["q", "", "b"]]))


def test_table_with_other_columns_is_a_source_error(tmp_path: Path) -> None:
    """The columns that are needed are named."""
    (tmp_path / "dataset.csv").write_text("question,answer\n1,2\n")
    with pytest.raises(SourceError, match=r"dataset\.csv:1: the header has no column 'wrong_answer'"):
        match_documents(CovidQaOptions(), folder=tmp_path)


def test_more_negatives_than_there_are_is_an_option_error(tmp_path: Path) -> None:
    """The error comes at the call, says how many there are, and exactly so many are possible."""
    folder = _written(tmp_path, FOUR)
    with pytest.raises(OptionError, match=r"'num_neg' is 3, .*; give at most 2"):
        match_documents(CovidQaOptions(num_neg=3), folder=folder)
    assert len(_documents(folder, num_neg=2)[0].matches) == 3


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("num_neg", -1),
        ("max_seq_len", 0),
        ("seed", -1),
        ("neg_value", float("inf")),
        ("to_ndarray", "perhaps"),
    ],
)
def test_option_out_of_range_is_refused(option: str, value: Any) -> None:
    """The error names the option and what was given."""
    with pytest.raises(OptionError, match=f"test: option '{option}' is {value!r}"):
        _documents(**{option: value})


def test_same_seed_same_documents() -> None:
    """Everything repeats with the seed, and other answers are drawn with another."""
    one, again, other = (_documents(seed=seed, num_total=50) for seed in (1, 1, 2))
    assert list(map(repr, one)) == list(map(repr, again))
    assert sum(_texts(a) != _texts(b) for a, b in zip(one, other, strict=True)) == len(one)


def test_what_is_drawn_does_not_depend_on_how_many_are_asked_for() -> None:
    """The first anchors have the same matches, whether few or many follow."""
    assert list(map(repr, _documents(num_total=3))) == list(map(repr, _documents(num_total=100)[:3]))


def test_documents_are_made_while_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking one document makes one."""
    made: list[int] = []
    original = QuestionsAndAnswers.anchor

    def counting(pairs: QuestionsAndAnswers, row: int, options: CovidQaOptions) -> Document:
        made.append(row)
        return original(pairs, row, options)

    monkeypatch.setattr(QuestionsAndAnswers, "anchor", counting)
    documents = match_documents(CovidQaOptions())
    assert made == []
    next(documents)
    assert len(made) == 1


@pytest.mark.parametrize("kind", ["text", "blob"])
def test_match_set_has_nothing_to_settle(kind: Any) -> None:
    """Read as match data, by text or by ids, nothing is said twice and nothing contradicts."""
    findings = MatchSet.from_documents(match_documents(CovidQaOptions(is_testset=None)), kind=kind).findings
    assert (findings.self_matches, findings.repeated, findings.contradicted, findings.unjudged) == (
        0,
        0,
        0,
        0,
    )


def test_documents_without_matches_are_the_anchors() -> None:
    """Questions alone come in the same order, with the same content and tags."""
    alone = list(covid_qa.documents(CovidQaOptions()))
    assert [(d.id, d.text, d.tags) for d in alone] == [(d.id, d.text, d.tags) for d in _documents()]
    assert {len(document.matches) for document in alone} == {0}


def test_download_is_read_before_it_is_kept(tmp_path: Path) -> None:
    """A page in place of the table is refused; the table is kept, found again and read from there."""
    table = b"question,answer,wrong_answer\nq,a,b\n"
    with FileServer({"/dataset.csv": b"<html>moved</html>"}).running() as server:
        url = f"{server.url}/dataset.csv"
        with pytest.raises(SourceError, match=r"no column .*; go on with the bundled sample \(no download\)"):
            covid_qa.download(tmp_path, url=url)
        assert list(tmp_path.iterdir()) == []
        server.files["/dataset.csv"] = table
        folder = covid_qa.download(tmp_path, url=url)
        assert covid_qa.download(tmp_path, url=url) == folder
    assert len(server.asked) == 2
    assert [anchor.text for anchor in _documents(folder, num_neg=0, is_testset=True)] == ["q"]


def test_words_of_the_bundled_set_fit_the_small_text_encoder() -> None:
    """All ids are below 5,000, the size of the embedding table in the examples."""
    pairs = QuestionsAndAnswers.read(source_folder("covid_qa") / "dataset.csv")
    assert max(pairs.vocabulary.values()) < 5000
    assert set(words_of(str(pairs.cells[0]["question"]))) <= set(pairs.vocabulary)
