"""JSON Lines: columns of objects with text and arrays, and match Documents."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.contents import content_hash
from finetuner.documents import Document, labelled
from finetuner.errors import ContentError, LabelError
from finetuner.packing import packed, unpacked
from tests.door_files import judgements, opened, reasons, until_fault

PAIRS: dict[str, Any] = {"anchor": "q", "match": "d"}


def test_text_of_any_script_and_values_of_any_key_are_read(tmp_path: Path) -> None:
    """Empty lines are passed over, keys without a role too, and what a line lacks is empty."""
    data = '\n{"q": "größe", "d": "one", "l": 1, "x": [1]}\n\n{"d": "two", "q": "größe"}\n'
    assert judgements(opened(tmp_path / "x.jsonl", data, **PAIRS, label="l").packs) == [
        *(("größe", "one", 1), ("größe", "two", None))
    ]


@pytest.mark.parametrize(("value", "dtype"), [([[1.5, 2], [3, 4]], np.float32), ([1, 2], np.int64)])
def test_lists_of_numbers_are_arrays_in_canonical_form(tmp_path: Path, value: list[Any], dtype: type) -> None:
    """Floating numbers are float32, whole ones int64, and nested lists have their shape."""
    [pack] = opened(tmp_path / "x.jsonl", [{"q": value, "d": value}], **PAIRS).packs
    assert pack.blobs is not None
    assert pack.texts is None
    assert pack.blobs.dtype == dtype
    assert pack.blobs[0].tolist() == value
    assert pack.ids == [content_hash(np.array(value, dtype)).hex()]


def test_whole_numbers_are_features_where_the_first_were(tmp_path: Path) -> None:
    """A program that writes 1.0 as 1 does not change what an array is."""
    rows = [{"q": [0.5, 1], "d": [1, 0]}, {"q": [0.5, 1], "d": [1.0, 0.0]}]
    [pack] = opened(tmp_path / "x.jsonl", rows, **PAIRS).packs
    assert pack.blobs is not None
    assert pack.blobs.dtype == np.float32
    assert len(pack.ids) == 2


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "column 'd' is empty"),
        ([], "column 'd': the .blob is empty"),
        ([1, 2, 3], "column 'd': the .blob is int64 (3,), the first one (\"column 'q'\") is int64 (2,)"),
        ([[1], [2, 3]], "column 'd': the list is no array"),
        ([1, "x"], "column 'd': the .blob has dtype"),
        ([1, None], "column 'd': the .blob has dtype object"),
        ([1, math.nan], "column 'd': the .blob holds NaN"),
        ([1, 1e39], "column 'd': the .blob holds NaN or infinite"),
        ([0.5, 1], "column 'd': the .blob is float32 (2,)"),
        ("text", "column 'd' has a text, the first content is an array"),
        (7, "column 'd' has a int; a content is text, or numbers in a list"),
        ({"a": 1}, "column 'd' has a dict"),
    ],
    ids=str,
)
def test_an_unfit_array_refuses_the_row(tmp_path: Path, value: Any, reason: str) -> None:
    """Whatever is wrong with a content, the rows around it are taken."""
    good = {"q": [1, 2], "d": [3, 4]}
    door = opened(tmp_path / "x.jsonl", [good, {"q": [1, 2], "d": value}, good], **PAIRS)
    [refusal] = reasons(door)
    assert (refusal[0], refusal[1][: len(reason)]) == ("2", reason)


@pytest.mark.parametrize(
    ("value", "taken"), [(7, "7"), (7.0, "7"), (0, "0"), (7.5, None), (True, None), ([1], None)]
)
def test_whole_numbers_are_ids(tmp_path: Path, value: Any, taken: str | None) -> None:
    """Other values than text and whole numbers refuse the row."""
    door = opened(tmp_path / "x.jsonl", [{"i": value, "j": "x"}], anchor_id="i", match_id="j")
    assert [pack.ids[0] for pack in door.packs] == ([taken] if taken else [])
    assert door.refused == (taken is None)


@pytest.mark.parametrize(
    ("text", "refused"), [('{"q": "\\ud800", "d": "x"}', 1), ('{"q": "\\ud83d\\ude00", "d": "x"}', 0)]
)
def test_text_that_is_no_unicode_refuses_the_row(tmp_path: Path, text: str, refused: int) -> None:
    """Half of a surrogate pair can neither be stored nor sent; a whole one is a character."""
    door = opened(tmp_path / "x.jsonl", text + "\n", **PAIRS)
    list(door.packs)
    assert door.refused == refused


@pytest.mark.parametrize("label", [True, "yes", [1], {"a": 1}, math.nan, 10**400])
def test_an_unfit_label_refuses_the_row(tmp_path: Path, label: Any) -> None:
    """True is no number here, as everywhere."""
    rows = [{"q": "a", "d": "one", "l": 1}, {"q": "a", "d": "two", "l": label}]
    [(line, reason)] = reasons(opened(tmp_path / "x.jsonl", rows, **PAIRS, label="l"))
    assert (line, reason[:6]) == ("2", "label ")


MATCH_DOCUMENTS = [
    {
        "id": "a",
        "text": "anchor",
        "tags": {"lang": "en"},
        "matches": [
            {"id": "m", "text": "one", "tags": {"finetuner": {"label": 1, "weight": 2}, "n": 1}},
            {"id": "n", "text": "two", "tags": {"finetuner_label": -1}},
            {"id": "o", "text": "three"},
        ],
    },
    {"id": "b", "text": "alone"},
]


def test_match_documents_are_read_as_feed_takes_them(tmp_path: Path) -> None:
    """Nested and flat labels, weights, tags, unjudged matches, and anchors without any."""
    found = list(unpacked(opened(tmp_path / "x.jsonl", MATCH_DOCUMENTS).packs))
    assert found == [
        Document(
            text="anchor",
            id="a",
            tags={"lang": "en"},
            matches=[
                Document(text="one", id="m", tags=labelled({"n": 1}, 1.0, 2.0)),
                Document(text="two", id="n", tags=labelled({}, -1.0)),
                Document(text="three", id="o"),
            ],
        ),
        Document(text="alone", id="b", matches=[]),
    ]


def test_documents_without_an_id_are_named_by_their_content(tmp_path: Path) -> None:
    """The id is the one that a table would give; one of two contents has both hashes."""
    rows = [{"text": "a", "matches": [{"text": "b"}]}]
    [pack] = opened(tmp_path / "x.jsonl", rows).packs
    assert pack.ids == [content_hash("a").hex(), content_hash("b").hex()]
    [pack] = opened(tmp_path / "x.jsonl", [{"text": "a", "blob": [1]}]).packs
    assert pack.ids == [content_hash("a").hex() + content_hash(np.array([1])).hex()]


def test_documents_named_by_id_alone_are_known(tmp_path: Path) -> None:
    """A judgement about what the collection has needs no content."""
    rows = [{"id": "a", "matches": [{"id": "b", "tags": {"finetuner_label": 1}}]}]
    [pack] = opened(tmp_path / "x.jsonl", rows).packs
    assert (pack.ids, pack.carried, pack.labels.tolist()) == (["a", "b"], 0, [1])


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "a document without an id has no content either"),
        ({"id": "x", "text": "t", "label": 1}, "document 'x' has 'label'; it may have id, text"),
        ({"id": "x", "text": 5}, "document 'x': the text is a int"),
        ({"id": [], "text": "t"}, "document [] has []; an id is"),
        ({"id": "x", "text": "t", "tags": [1]}, "document 'x': the tags are a list"),
        ({"id": "x", "text": "t", "matches": "m"}, "the matches are no list of documents"),
        ({"id": "x", "text": "t", "matches": [1]}, "the matches are no list of documents"),
        (
            {"id": "x", "text": "t", "matches": [{"id": "y", "matches": [{}]}]},
            "a match has matches of its own",
        ),
        ({"id": "x", "blob": [1]}, "document 'x' holds .blob, the first one .text"),
        (
            {"id": "x", "text": "t", "matches": [{"id": "y", "tags": {"finetuner": {"label": "no"}}}]},
            "match 'y': label 'no'",
        ),
        (
            {
                "id": "x",
                "text": "t",
                "matches": [{"id": "y", "tags": {"finetuner": {"label": 1, "weight": 0}}}],
            },
            "match 'y': weight 0",
        ),
        ({"id": "a", "text": "other"}, "document 'a' comes twice with different contents"),
        ({"id": "x", "text": "t", "tags": {"n": math.nan}}, "document 'x': its tags cannot be kept"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unfit_document_refuses_its_line(tmp_path: Path, document: Any, reason: str) -> None:
    """The documents before and after it are packed as if it were not there."""
    rows = [MATCH_DOCUMENTS[0], document, MATCH_DOCUMENTS[1]]
    door = opened(tmp_path / "x.jsonl", rows)
    assert [anchor.id for anchor in unpacked(door.packs)] == ["a", "b"]
    [refusal] = door.refusals
    assert (refusal.place[-2:], refusal.reason[: len(reason)]) == (":2", reason)


def test_many_unfit_documents_leave_the_others_in_their_order(tmp_path: Path) -> None:
    """Of 600 documents each third has a bad label: 400 are packed, in two packs, and 200 refused."""

    def row(number: int) -> dict[str, Any]:
        label = "no" if number % 3 == 0 else 1
        match = {"id": f"m{number}", "text": "match", "tags": {"finetuner": {"label": label}}}
        return {"id": f"a{number}", "text": f"text {number}", "matches": [match]}

    door = opened(tmp_path / "x.jsonl", map(row, range(600)))
    packs = list(door.packs)
    assert [anchor.id for anchor in unpacked(packs)] == [f"a{number}" for number in range(600) if number % 3]
    assert ([len(pack.anchors) for pack in packs], door.refused) == ([256, 144], 200)
    assert [one.place.rpartition(":")[2] for one in door.refusals[:3]] == ["1", "4", "7"]


def test_the_first_document_decides_for_all_of_the_file(tmp_path: Path) -> None:
    """Documents of another kind are refused in the next pack, too."""
    rows = [{"id": f"{number}", "text": "t"} for number in range(256)]
    door = opened(tmp_path / "x.jsonl", [*rows, {"id": "x", "blob": [1]}, {"id": "y", "blob": [1]}])
    assert sum(len(pack.anchors) for pack in door.packs) == 256
    assert door.refused == 2


def test_match_documents_before_a_fault_are_packed(tmp_path: Path) -> None:
    """A line that is no JSON ends the file, after the documents before it."""
    data = "".join(json.dumps(one) + "\n" for one in MATCH_DOCUMENTS) + "{\n"
    packs, fault = until_fault(opened(tmp_path / "x.jsonl", data))
    assert [anchor.id for anchor in unpacked(packs)] == ["a", "b"]
    assert f"{tmp_path / 'x.jsonl'}:3: the line is no JSON" in fault


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"id": "x", "text": 5}, ContentError),
        ({"text": "t", "matches": [{"text": "m", "tags": {"finetuner_label": "x"}}]}, LabelError),
    ],
)
def test_strict_raises_what_is_wrong_with_a_document(
    tmp_path: Path, document: Any, error: type[Exception]
) -> None:
    """The error is of the class that says what is wrong, and begins with the place."""
    with pytest.raises(error, match=r"x\.jsonl:1: "):
        list(opened(tmp_path / "x.jsonl", [document], strict=True).packs)


def test_arrays_of_match_documents_are_packed(tmp_path: Path) -> None:
    """Their packs are those of the same documents made in Python."""
    rows = [{"id": "a", "blob": [[0.5, 1]], "matches": [{"id": "b", "blob": [[1, 0]]}]}]
    [pack] = opened(tmp_path / "x.jsonl", rows).packs
    match = Document(id="b", blob=np.array([[1, 0]], np.float32))
    [expected] = packed([Document(id="a", blob=np.array([[0.5, 1]], np.float32), matches=[match])])
    assert pack.blobs is not None
    assert expected.blobs is not None
    assert np.array_equal(pack.blobs, expected.blobs)
    assert (pack.ids, pack.matches.tolist()) == (expected.ids, expected.matches.tolist())
