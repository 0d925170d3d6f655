"""The match set: every content once, judgements as integers, split and saved without a copy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.documents import Document, labelled
from finetuner.errors import ContentError, LabelError, MatchDataError, SourceError
from finetuner.matches import Findings, MatchSet
from tests.two_classes import match_documents, points


def anchor(text: str, judged: Mapping[str, Any]) -> Document:
    """Return an anchor from {text of a match: label, or None for unjudged}; ``text`` is also the id."""
    matches = [
        Document(id=match, text=match, tags={} if label is None else labelled({}, label))
        for match, label in judged.items()
    ]
    return Document(id=text, text=text, matches=matches)


def judgements(matches: MatchSet) -> dict[tuple[str, str], float]:
    """Return {(id of the anchor, id of the match): label}."""
    owners = matches.anchors[matches.anchor_of]
    return {
        (matches.ids[owner], matches.ids[match]): float(label)
        for owner, match, label in zip(owners, matches.matches, matches.labels, strict=True)
    }


def test_each_content_is_kept_once() -> None:
    """An anchor that is a match elsewhere, and a match of two anchors, take one row each."""
    matches = MatchSet.from_documents([anchor("a", {"b": 1, "c": -1}), anchor("b", {"a": 1, "c": 1})])
    assert (matches.contents, matches.ids) == (["a", "b", "c"], ["a", "b", "c"])
    assert judgements(matches) == {("a", "b"): 1, ("a", "c"): -1, ("b", "a"): 1, ("b", "c"): 1}
    assert (len(matches), matches.kind, matches.findings) == (2, "text", Findings(documents=2))


def test_an_anchor_is_no_match_of_itself() -> None:
    """A match with the content of its anchor is dropped and counted, whatever its label."""
    matches = MatchSet.from_documents([anchor("a", {"a": 1, "b": 1}), anchor("b", {"b": None})])
    assert judgements(matches) == {("a", "b"): 1}
    assert matches.findings == Findings(documents=2, self_matches=2)


def test_of_contradicting_labels_the_later_holds() -> None:
    """Within one document and over two of the same content, the last label wins; each change is counted."""
    again = anchor("a", {"b": -1, "c": -1})
    again.matches = [*again.matches, Document(text="c", tags=labelled({}, 1))]
    matches = MatchSet.from_documents([anchor("a", {"b": 1, "c": -1}), again])
    assert judgements(matches) == {("a", "b"): -1, ("a", "c"): 1}
    assert matches.findings == Findings(documents=2, merged_anchors=1, repeated=1, contradicted=2)


def test_what_nobody_judged_belongs_to_the_corpus() -> None:
    """An unjudged match is a content without a judgement, and takes no earlier label away."""
    matches = MatchSet.from_documents([anchor("a", {"b": None, "c": 1}), anchor("a", {"c": None})])
    assert matches.contents == ["a", "b", "c"]
    assert judgements(matches) == {("a", "c"): 1}
    assert matches.findings == Findings(documents=2, merged_anchors=1, unjudged=2)


def test_an_anchor_without_matches_is_an_anchor() -> None:
    """It counts, with no judgement, between others that have some."""
    matches = MatchSet.from_documents([anchor("a", {"b": 1}), anchor("x", {}), anchor("c", {"b": -1})])
    assert (len(matches), matches.offsets.tolist()) == (3, [0, 1, 1, 2])
    assert matches.anchor_of.tolist() == [0, 2]


def test_the_flat_label_key_judges() -> None:
    """Match data with the later, flat spelling can be used as it is."""
    document = Document(text="a", matches=[Document(text="b", tags={"finetuner_label": -1})])
    assert MatchSet.from_documents([document]).labels.tolist() == [-1]


@pytest.mark.parametrize("label", ["yes", True, float("nan")])
def test_a_label_that_is_no_number_stops_the_reading(label: Any) -> None:
    """The error names the match."""
    with pytest.raises(LabelError, match="match 'm1'"):
        MatchSet.from_documents([anchor("a", {"m1": label})])


@pytest.mark.parametrize("blob", [None, np.array([1, np.nan]), np.ones(3), np.empty(0), np.array(["x", "y"])])
def test_an_unfit_match_stops_the_reading(blob: Any) -> None:
    """Missing, not finite, of another shape, empty or not numeric: the error names the document."""
    document = Document(blob=np.ones(2), matches=[Document(id="m1", blob=blob)])
    with pytest.raises(ContentError, match="document 'm1'"):
        MatchSet.from_documents([document])


def test_no_document_is_no_match_set() -> None:
    """An empty stream is an error of match data rather than a set of nothing."""
    with pytest.raises(MatchDataError, match="at least one anchor"):
        MatchSet.from_documents(iter([]))


def test_the_kind_can_be_chosen() -> None:
    """Where documents carry both contents an array is taken, unless the caller asks for the text."""
    both = [Document(text="a", blob=np.ones(2), matches=[Document(text="b", blob=np.zeros(2))])]
    assert MatchSet.from_documents(both).kind == "blob"
    assert MatchSet.from_documents(both, kind="text").contents == ["a", "b"]


@pytest.mark.parametrize("chosen", [np.array([2, 0]), np.array([], np.int64), np.array([False, True, True])])
def test_some_anchors_keep_their_judgements_and_share_the_contents(chosen: Any) -> None:
    """Chosen by index in any order, or by mask, each anchor keeps its own; contents are the same object."""
    data = {"a": {"b": 1, "c": -1}, "b": {}, "d": {"a": 1}}
    matches = MatchSet.from_documents([anchor(text, judged) for text, judged in data.items()])
    some = matches.only(chosen)
    wanted = [list(data)[at] for at in np.arange(3)[chosen]]
    assert [matches.ids[row] for row in some.anchors] == wanted
    assert judgements(some) == {(a, m): label for a in wanted for m, label in data[a].items()}
    assert some.contents is matches.contents
    assert some.ids is matches.ids


def test_contents_are_taken_by_row() -> None:
    """Rows may repeat and come in any order, for texts and for arrays."""
    texts = MatchSet.from_documents([anchor("a", {"b": 1})])
    arrays = MatchSet.from_documents(match_documents(8))
    rows = np.array([1, 0, 1])
    assert texts.take(rows) == ["b", "a", "b"]
    assert np.array_equal(arrays.take(rows), np.asarray(arrays.contents)[[1, 0, 1]])


@pytest.fixture(scope="module")
def many() -> MatchSet:
    """2,000 anchors of which each has one match."""
    blobs = points(2000)
    match = Document(blob=np.zeros(6), tags=labelled({}, 1))
    return MatchSet.from_documents(
        [Document(id=str(i), blob=b, matches=[match]) for i, b in enumerate(blobs)]
    )


def test_the_sides_of_a_split_are_whole_and_of_the_asked_size(many: MatchSet) -> None:
    """Every anchor is on one side; the part is within four standard deviations of 2,000 coin tosses."""
    rest, part = many.split(0.3, seed=0)
    assert set(rest.anchors) | set(part.anchors) == set(many.anchors)
    assert len(rest) + len(part) == 2000
    assert abs(len(part) - 600) < 4 * (2000 * 0.3 * 0.7) ** 0.5


def test_a_split_copies_no_content(many: MatchSet) -> None:
    """Both sides look at the very same array."""
    rest, part = many.split(0.5, seed=0)
    assert np.shares_memory(np.asarray(rest.contents), np.asarray(many.contents))
    assert np.shares_memory(np.asarray(part.contents), np.asarray(many.contents))


@pytest.mark.parametrize(("ratio", "size"), [(0.0, 0), (1.0, 2000)])
def test_nothing_and_everything_can_be_split_off(many: MatchSet, ratio: float, size: int) -> None:
    """The ends of the range are exact."""
    assert len(many.split(ratio, seed=3)[1]) == size


def test_another_seed_is_an_independent_split(many: MatchSet) -> None:
    """Two seeds agree on as many anchors as chance does, about 0.2 x 0.2 of them, and a seed on all."""
    first, second, again = (set(many.split(0.2, seed=seed)[1].anchors) for seed in (0, 1, 0))
    assert first == again
    assert abs(len(first & second) - 80) < 4 * (2000 * 0.04 * 0.96) ** 0.5


def test_an_anchor_keeps_its_side_when_data_is_added() -> None:
    """The side depends on the anchor's content, not on what stands before it."""
    documents = match_documents(60)
    few, more = MatchSet.from_documents(documents[20:40]), MatchSet.from_documents(documents)
    held_out = {few.ids[row] for row in few.split(0.5, seed=7)[1].anchors}
    of_more = {more.ids[row] for row in more.split(0.5, seed=7)[1].anchors}
    assert held_out == of_more & {document.id for document in documents[20:40]}
    assert 0 < len(held_out) < 20


@pytest.mark.parametrize("texts", [True, False])
def test_a_set_comes_back_from_disk_as_it_was(tmp_path: Path, texts: bool) -> None:
    """Contents, ids, hashes, judgements and findings survive; arrays are memory-mapped."""
    spoken = [anchor("ein\nzwei", {"数学 🙂": 1, "\u2028": -0.5, "x": None}), anchor("x", {"x": 1})]
    saved = MatchSet.from_documents(spoken if texts else match_documents(10))
    saved.save(tmp_path / "set")
    loaded = MatchSet.load(tmp_path / "set")
    assert np.array_equal(np.asarray(loaded.contents), np.asarray(saved.contents))
    assert isinstance(loaded.contents, list if texts else np.memmap)
    assert (loaded.ids, loaded.findings, judgements(loaded)) == (saved.ids, saved.findings, judgements(saved))
    assert [bytes(one) for one in loaded.hashes] == [bytes(one) for one in saved.hashes]
    assert (loaded.labels.dtype, loaded.anchors.dtype) == (np.dtype(np.float32), np.dtype(np.int64))


def test_a_set_that_was_not_saved_to_its_end_is_refused(tmp_path: Path) -> None:
    """Without the file that is written last there is no set, whatever else is there."""
    MatchSet.from_documents(match_documents(10)).save(tmp_path)
    (tmp_path / "matches.json").rename(tmp_path / "matches.json.part")
    with pytest.raises(SourceError, match="no complete match set"):
        MatchSet.load(tmp_path)


def test_the_users_own_label_values_become_signs() -> None:
    """Values such as 0 and 2, which have no sign to go by, are told apart by their names."""
    matches = MatchSet.from_documents([anchor("a", {"b": 2, "c": 0, "d": 2})])
    assert matches.with_values(2, 0).labels.tolist() == [1, -1, 1]
    assert matches.with_values(0, 2).labels.tolist() == [-1, 1, -1]
    assert judgements(matches.with_values(None, None)) == {("a", "b"): 2, ("a", "d"): 2}


def test_without_labels_of_0_nothing_changes() -> None:
    """Going by sign, a set in which every label judges is itself."""
    matches = MatchSet.from_documents([anchor("a", {"b": 2, "c": -1})])
    assert matches.with_values(None, None) is matches


def test_integers_are_floats_where_numbers_are_asked_for() -> None:
    """JSON's [1, 0] and [1.0, 0.0] are one content of a set of floats, and cannot be mixed in any other."""
    both = [
        Document(id="i", blob=np.array([1, 0]), matches=[Document(id="j", blob=np.array([0, 1]))]),
        Document(id="f", blob=np.array([1.0, 0.0])),
    ]
    assert MatchSet.from_documents(both, floats=True).ids == ["i", "j"]
    with pytest.raises(ContentError, match="'f'"):
        MatchSet.from_documents(both)


@pytest.mark.parametrize(
    ("positive", "negative", "fault"),
    [
        (1, None, "give two different numbers"),
        (None, -1, "give two different numbers"),
        (1, 1, "give two different numbers"),
        (1, -1, r"match 'c': label 0\.5 is neither .* \(2 such judgements\)"),
    ],
)
def test_label_values_that_do_not_tell_apart_are_refused(
    positive: float | None, negative: float | None, fault: str
) -> None:
    """One value alone, two equal ones, or a third one in the data is an error that says which."""
    matches = MatchSet.from_documents([anchor("a", {"b": 1, "c": 0.5, "d": 0.5})])
    with pytest.raises(LabelError, match=fault):
        matches.with_values(positive, negative)
