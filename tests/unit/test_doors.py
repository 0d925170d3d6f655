"""Doors to tables of judgements: what the cells mean, and which rows are refused."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.contents import content_hash
from finetuner.documents import LARGEST
from finetuner.doors import Roles, open_door
from finetuner.errors import ContentError, LabelError, OptionError
from finetuner.packing import unpacked
from tests.door_files import judgements, opened, reasons, weights

PAIRS: dict[str, Any] = {"anchor": "q", "match": "d"}


def test_pairs_without_a_label_are_positives(tmp_path: Path) -> None:
    """Each row of anchor and match is judged with 1; other columns are passed over."""
    door = opened(tmp_path / "x.csv", "n,d,q\n1,one,a\n2,two,a\n3,one,b\n", **PAIRS)
    assert judgements(door.packs) == [("a", "one", 1), ("a", "two", 1), ("b", "one", 1)]
    assert (door.refused, door.refusals) == (0, ())


def test_labels_are_numbers_or_empty(tmp_path: Path) -> None:
    """Any finite number is a label, and an empty cell leaves the pair unjudged."""
    door = opened(tmp_path / "x.csv", "q,d,l\na,one,1\na,two,\na,three,-2.5\na,four,0\n", **PAIRS, label="l")
    assert [label for *_, label in judgements(door.packs)] == [1, None, -2.5, 0]


@pytest.mark.parametrize(
    ("label", "what"),
    [("yes", "number"), ("inf", "finite number"), ("1e39", "finite number"), ("nan", "number")],
)
def test_a_label_that_is_no_finite_number_refuses_the_row(tmp_path: Path, label: str, what: str) -> None:
    """The rows around it are taken, and the refusal tells file, line, value and what to use."""
    door = opened(tmp_path / "x.csv", f"q,d,l\na,one,1\na,two,{label}\nb,two,-1\n", **PAIRS, label="l")
    assert judgements(door.packs) == [("a", "one", 1), ("b", "two", -1)]
    [refusal] = door.refusals
    assert refusal.place == f"{tmp_path / 'x.csv'}:3"
    assert refusal.reason == f"label {label!r} is not a {what}; use 1, -1 or leave it empty"


def test_the_largest_label_is_taken(tmp_path: Path) -> None:
    """What is finite as float32 is a label."""
    door = opened(tmp_path / "x.csv", f"q,d,l\na,one,{LARGEST!r}\n", **PAIRS, label="l")
    assert judgements(door.packs) == [("a", "one", LARGEST)]


def test_values_of_labels_can_be_mapped(tmp_path: Path) -> None:
    """ESCI's letters become numbers; one that is not in the mapping refuses its row; an empty one is unjudged."""
    mapping = {"E": 1, "S": 0.5, "I": -1}
    door = opened(
        tmp_path / "x.csv", "q,d,l\na,1,E\na,2,S\na,3,C\na,4,I\na,5,\n", **PAIRS, label="l", labels=mapping
    )
    assert reasons(door) == [("4", "label 'C' is none of 'E', 'S', 'I'; add it to labels, or leave it empty")]
    again = open_door(tmp_path / "x.csv", Roles(**PAIRS, label="l", labels=mapping))
    assert [label for *_, label in judgements(again.packs)] == [1, 0.5, -1, None]


@pytest.mark.parametrize(("value", "key"), [(1, "1"), (1.0, "1"), (0.5, "0.5"), (True, "true"), ("E", "E")])
def test_values_of_other_types_are_mapped_as_they_are_written(
    tmp_path: Path, value: object, key: str
) -> None:
    """Numbers and booleans of JSON are found in the mapping under their text; True is not 1."""
    rows = [{"q": "a", "d": "one", "l": value}]
    door = opened(tmp_path / "x.jsonl", rows, **PAIRS, label="l", labels={key: 7, "unlike": 8})
    assert judgements(door.packs) == [("a", "one", 7)]


def test_scores_are_mapped_linearly(tmp_path: Path) -> None:
    """Of the range 0 to 5 the ends become -1 and 1, and 2.5 becomes 0; beyond is refused, empty is unjudged."""
    data = "q,d,s\na,1,0\na,2,5\na,3,2.5\na,4,\na,5,5.1\na,6,high\n"
    door = opened(tmp_path / "x.csv", data, **PAIRS, score="s", score_range=(0, 5))
    assert [label for *_, label in judgements(door.packs)] == [-1, 1, 0, None]
    assert [one.reason.partition(";")[0] for one in door.refusals] == [
        "score '5.1' is not a number from 0 to 5",
        "score 'high' is not a number from 0 to 5",
    ]


def test_weights_are_above_zero(tmp_path: Path) -> None:
    """An empty weight is 1; 0, less, and what is no number refuse the row."""
    data = "q,d,w\na,1,2.5\na,2,\na,3,0\na,4,-1\na,5,much\na,6,inf\n"
    door = opened(tmp_path / "x.csv", data, **PAIRS, weight="w")
    assert weights(door.packs) == [2.5, 1]
    assert door.refused == 4
    assert door.refusals[0].reason == "weight '0' is not a finite number above 0; leave it empty for 1"


def test_weights_of_one_are_not_written(tmp_path: Path) -> None:
    """A pack in which each judgement counts 1 has no weights."""
    [pack] = opened(tmp_path / "x.csv", "q,d,w\na,1,1\na,2,\n", **PAIRS, weight="w").packs
    assert pack.weights is None


def test_triplets_are_two_judgements_each(tmp_path: Path) -> None:
    """The positive is judged with 1, the negative with -1, and both weigh what the row weighs."""
    roles: dict[str, Any] = {"anchor": "a", "positive": "p", "negative": "n", "weight": "w"}
    data = "a,p,n,w\nx,yes,no,2\nx,good,bad,1\n"
    assert judgements(opened(tmp_path / "x.csv", data, **roles).packs) == [
        *(("x", "yes", 1), ("x", "no", -1), ("x", "good", 1), ("x", "bad", -1))
    ]
    assert weights(open_door(tmp_path / "x.csv", Roles(**roles)).packs) == [2, 2, 1, 1]


def test_a_triplet_of_one_content_is_refused(tmp_path: Path) -> None:
    """It would judge one pair with 1 and with -1."""
    door = opened(tmp_path / "x.csv", "a,p,n\nx,same,same\nx,y,z\n", anchor="a", positive="p", negative="n")
    assert reasons(door) == [("2", "the positive and the negative are the same content")]


def test_ids_are_those_of_their_columns(tmp_path: Path) -> None:
    """With columns of ids, documents are named by them."""
    data = "qi,q,di,d\n1,a,x,one\n1,a,y,two\n"
    door = opened(tmp_path / "x.csv", data, **PAIRS, anchor_id="qi", match_id="di")
    [pack] = door.packs
    assert dict(zip(pack.ids, pack.texts or (), strict=True)) == {"1": "a", "x": "one", "y": "two"}


def test_ids_are_by_default_the_hashes_of_contents(tmp_path: Path) -> None:
    """The same content has the same id in every file, also where it is anchor and match."""
    [pack] = opened(tmp_path / "x.csv", "q,d\na,b\nb,a\n", **PAIRS).packs
    assert pack.ids == [content_hash("a").hex(), content_hash("b").hex()]


def test_ids_alone_judge_what_is_known(tmp_path: Path) -> None:
    """Without columns of contents the pack names documents and carries none."""
    [pack] = opened(
        tmp_path / "x.csv", "i,j,l\na,b,1\nc,b,-1\n", anchor_id="i", match_id="j", label="l"
    ).packs
    assert (pack.ids, pack.carried, pack.texts, pack.blobs) == (["a", "b", "c"], 0, None, None)
    assert pack.labels.tolist() == [1, -1]


def test_contents_of_one_side_come_before_ids_of_the_other(tmp_path: Path) -> None:
    """New queries about known documents: the documents with a content are the first of the pack."""
    [pack] = opened(tmp_path / "x.csv", "q,j\nnew,x\nnewer,y\n", anchor="q", match_id="j").packs
    assert (pack.texts, pack.ids[2:]) == (["new", "newer"], ["x", "y"])
    assert judgements([pack]) == [("new", "x", 1), ("newer", "y", 1)]


def test_a_content_may_come_after_its_id(tmp_path: Path) -> None:
    """A document that one row names, and a later row brings, is carried."""
    data = "q,i,j\none,1,2\ntwo,2,1\n"
    [pack] = opened(tmp_path / "x.csv", data, anchor="q", anchor_id="i", match_id="j").packs
    assert judgements([pack]) == [("one", "two", 1), ("two", "one", 1)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",i,one,j", "column 'q' is empty"),
        ("a,,one,j", "column 'qi' is empty; it needs an id"),
        ("a,i,,j", "column 'd' is empty; it needs a text"),
        ("a,i,one,", "column 'di' is empty"),
    ],
)
def test_an_empty_content_or_id_refuses_the_row(tmp_path: Path, row: str, reason: str) -> None:
    """The column is named, and neither document of the row is carried."""
    door = opened(
        tmp_path / "x.csv", f"q,qi,d,di\n{row}\nb,k,two,l\n", **PAIRS, anchor_id="qi", match_id="di"
    )
    [pack] = door.packs
    assert pack.ids == ["k", "l"]
    assert door.refusals[0].reason.startswith(reason)


def test_an_id_with_two_contents_refuses_the_later_row(tmp_path: Path) -> None:
    """Within a pack the first content holds, whichever side and portion the other is on."""
    data = "q,qi,d,di\na,1,x,2\nb,2,y,3\nc,4,x,1\nd,5,x,2\n"
    door = opened(tmp_path / "x.csv", data, **PAIRS, anchor_id="qi", match_id="di")
    assert judgements(door.packs) == [("a", "x", 1), ("d", "x", 1)]
    assert [(one.place[-2:], one.reason.partition(";")[0]) for one in door.refusals] == [
        (":3", "document '2' comes twice with different contents"),
        (":4", "document '1' comes twice with different contents"),
    ]


def test_a_triplet_whose_anchor_clashes_is_one_refused_row(tmp_path: Path) -> None:
    """Its two judgements are one row."""
    data = "a,i,p,n\nx,1,yes,no\ny,1,yes,no\n"
    door = opened(tmp_path / "x.csv", data, anchor="a", anchor_id="i", positive="p", negative="n")
    assert len(judgements(door.packs)) == 2
    assert door.refused == 1


def test_refusals_are_told_in_the_order_of_rows_and_each_row_once(tmp_path: Path) -> None:
    """Whichever column is at fault; of two faults of a row, that of the content is told."""
    data = "q,d,l,w\na,x,no,1\n,x,1,1\na,x,1,0\n,x,no,0\n"
    door = opened(tmp_path / "x.csv", data, **PAIRS, label="l", weight="w")
    assert [(line, reason.split()[0]) for line, reason in reasons(door)] == [
        *(("2", "label"), ("3", "column"), ("4", "weight"), ("5", "column"))
    ]


def test_refusals_are_counted_beyond_those_that_are_told(tmp_path: Path) -> None:
    """Of 30 refused rows the first 20 are told, in the order of the file."""
    door = opened(tmp_path / "x.csv", "q,d,l\n" + "a,b,no\n" * 30, **PAIRS, label="l")
    assert list(door.packs) == []
    assert (door.refused, len(door.refusals)) == (30, 20)
    assert [door.refusals[number].place[-3:] for number in (0, 19)] == ["v:2", ":21"]


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ("a,two,no", LabelError, r"x\.csv:3: label 'no'"),
        ("a,,1", ContentError, r"x\.csv:3: column 'd' is empty"),
    ],
)
def test_strict_raises_the_first_refusal(
    tmp_path: Path, row: str, error: type[Exception], message: str
) -> None:
    """The error is of the class that says what is wrong, and begins with the place."""
    door = opened(tmp_path / "x.csv", f"q,d,l\na,one,1\n{row}\n", **PAIRS, label="l", strict=True)
    with pytest.raises(error, match=message):
        list(door.packs)


def test_strict_raises_a_clash(tmp_path: Path) -> None:
    """An id with two contents is a ContentError with its place."""
    data = "q,d,i\na,one,1\na,two,1\n"
    door = opened(tmp_path / "x.csv", data, **PAIRS, match_id="i", strict=True)
    with pytest.raises(ContentError, match=r"x\.csv:3: document '1' comes twice"):
        list(door.packs)


def test_tsv_is_parted_by_tabs(tmp_path: Path) -> None:
    """The suffix tells the delimiter, so that commas are text; a given format goes before the suffix."""
    data = "q\td\na, b\tone\n"
    assert judgements(opened(tmp_path / "x.tsv", data, **PAIRS).packs) == [("a, b", "one", 1)]
    assert judgements(opened(tmp_path / "x.csv", data, **PAIRS, format="tsv").packs) == [("a, b", "one", 1)]


def test_quoted_cells_may_hold_anything(tmp_path: Path) -> None:
    """Delimiters, quotes and line breaks are text, and a refusal names the line on which its row begins."""
    data = 'q,d,l\r\n"a, ""x""\r\ny",one,1\r\nb,two,no\r\n'
    door = opened(tmp_path / "x.csv", data, **PAIRS, label="l")
    assert judgements(door.packs) == [('a, "x"\r\ny', "one", 1)]
    assert [one.place[-2:] for one in door.refusals] == [":4"]


def test_a_cell_may_be_long(tmp_path: Path) -> None:
    """A text of 200,000 characters is read, though Python's csv takes 131,072 by default."""
    csv.field_size_limit(131_072)
    door = opened(tmp_path / "x.csv", f"q,d\n{'a' * 200_000},one\n", **PAIRS)
    assert len(next(unpacked(door.packs)).text or "") == 200_000


def test_a_file_without_rows_has_no_packs(tmp_path: Path) -> None:
    """A header alone is a table in which nobody judged."""
    assert list(opened(tmp_path / "x.csv", "q,d\n", **PAIRS).packs) == []


def test_a_suffix_that_tells_no_format_is_refused(tmp_path: Path) -> None:
    """The known ones are named, before the file is looked at."""
    with pytest.raises(OptionError, match=r"x\.txt: the suffix '\.txt' tells no format; known are \.csv, "):
        open_door(tmp_path / "x.txt", Roles(**PAIRS))


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.parquet"])
def test_only_jsonl_needs_no_roles(tmp_path: Path, name: str) -> None:
    """A table says nothing as long as nobody says what its columns are."""
    with pytest.raises(OptionError, match="no roles are given"):
        open_door(tmp_path / name, Roles())


def test_packs_are_those_of_the_wire(tmp_path: Path) -> None:
    """Their columns have the dtypes that every reader of packs relies on."""
    [pack] = opened(tmp_path / "x.csv", "q,d\na,one\na,two\nb,one\n", **PAIRS).packs
    assert [one.dtype for one in (pack.anchors, pack.offsets, pack.matches, pack.labels)] == [
        *(np.int64, np.int64, np.int64, np.float64)
    ]
    assert (pack.start, pack.anchors.tolist(), pack.offsets.tolist()) == (0, [0, 3], [0, 2, 3])
