"""Gathering: packs are bounded, keep anchors whole, and say what was said."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuner.doors import gathering
from finetuner.doors.gathering import DocumentGatherer, JudgementGatherer
from finetuner.doors.judging import Judged
from finetuner.doors.refusals import Refusals
from finetuner.packs import MATCHES, Pack
from tests.door_files import judgements, opened


def judged(pairs: Sequence[tuple[str, str]], contents: dict[str, str] | None = None) -> Judged:
    """Return pairs of ids as judgements whose labels count them."""
    ids = [name for pair in pairs for name in pair]
    return Judged(
        ids=ids,
        contents=[(contents or {}).get(name) for name in ids],
        anchors=np.arange(0, len(ids), 2),
        matches=np.arange(1, len(ids), 2),
        labels=np.arange(len(pairs), dtype=np.float64),
        weights=np.ones(len(pairs)),
        place=str,
    )


def gathered(portions: Sequence[Judged]) -> Iterator[Pack]:
    """Yield what a gatherer makes of portions."""
    gatherer = JudgementGatherer(Refusals())
    for portion in portions:
        yield from gatherer.add(portion)
    yield from gatherer.rest()


def test_a_pack_has_a_bounded_number_of_matches_and_whole_anchors(tmp_path: Path) -> None:
    """9,000 rows in anchors of 30 are packs of at most 8,192 matches, and no anchor is in two of them."""
    rows = "".join(f"a{number // 30},m{number % 77}\n" for number in range(9000))
    packs = list(opened(tmp_path / "x.csv", "q,d\n" + rows, anchor="q", match="d").packs)
    assert [len(pack.matches) for pack in packs] == [8190, 810]
    assert all(len(pack.matches) <= MATCHES for pack in packs)
    assert sum(len(pack.anchors) for pack in packs) == 300
    assert judgements(packs) == [(f"a{number // 30}", f"m{number % 77}", 1) for number in range(9000)]


def test_an_anchor_that_fills_packs_comes_again(tmp_path: Path) -> None:
    """9,000 rows of one anchor are two packs, since one would not be bounded."""
    rows = "".join(f"a,m{number}\n" for number in range(9000))
    packs = list(opened(tmp_path / "x.csv", "q,d\n" + rows, anchor="q", match="d").packs)
    assert [len(pack.matches) for pack in packs] == [8192, 808]
    assert all(pack.ids[pack.anchors[0]] == packs[0].ids[0] and pack.start == 0 for pack in packs)


def test_a_document_is_carried_once_in_a_pack(tmp_path: Path) -> None:
    """However often it comes, in several portions and on both sides; in the next pack it is carried again."""
    rows = "".join(f"q{number % 3},{'q1' if number % 2 else 'm'}\n" for number in range(9000))
    packs = list(opened(tmp_path / "x.csv", "q,d\n" + rows, anchor="q", match="d").packs)
    assert [sorted(pack.texts or ()) for pack in packs] == [["m", "q0", "q1", "q2"]] * 2


def test_a_pack_has_bounded_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of texts of 9 KB three fit into 32 KiB; the anchor, which they share, is carried in each pack."""
    monkeypatch.setattr(gathering, "BYTES", 32 * 2**10)
    rows = "".join(f"q,{number}{'x' * 9000}\n" for number in range(7))
    packs = list(opened(tmp_path / "x.csv", "q,d\n" + rows, anchor="q", match="d").packs)
    assert [sum(map(len, pack.texts or ())) // 9000 for pack in packs] == [3, 3, 1]
    assert all("q" in (pack.texts or ()) for pack in packs)


def test_a_content_beyond_the_bound_has_a_pack_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is larger than a pack is taken all the same."""
    monkeypatch.setattr(gathering, "BYTES", 10)
    contents = {"a": "1", "large": "x" * 50, "b": "2" * 9, "c": "3"}
    packs = list(gathered([judged([("a", "b"), ("a", "large"), ("c", "large"), ("c", "b")], contents)]))
    assert [list(pack.ids) for pack in packs] == [["a", "b"], ["a", "large"], ["c", "large"], ["c", "b"]]


def test_documents_without_judgements_are_packs_without_anchors(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are parted by count and by bytes; what comes twice is carried once, or refused if it differs."""
    monkeypatch.setattr(gathering, "MATCHES", 3)
    monkeypatch.setattr(gathering, "BYTES", 10)
    refusals = Refusals()
    gatherer = DocumentGatherer(refusals)
    given = [("a", "1"), ("b", "2"), ("a", "1"), ("a", "other"), ("c", "3"), ("d", "x" * 8), ("e", "yyy")]
    packs = [pack for name, text in given for pack in gatherer.add(f"at {name}", name, text)]
    packs += gatherer.rest()
    assert [list(pack.ids) for pack in packs] == [["a", "b", "c"], ["d"], ["e"]]
    assert all(len(pack.anchors) == len(pack.matches) == 0 and pack.offsets.tolist() == [0] for pack in packs)
    assert [one.place for one in refusals.first] == ["at a"]


def test_what_is_refused_is_not_carried() -> None:
    """The anchor of a row whose match clashes does not come as a document alone."""
    gatherer = JudgementGatherer(Refusals())
    packs = list(gatherer.add(judged([("a", "b")], {"a": "1", "b": "2"})))
    packs += gatherer.add(judged([("c", "b")], {"c": "3", "b": "other"}))
    [pack] = [*packs, *gatherer.rest()]
    assert list(pack.ids) == ["a", "b"]


PAIRS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("abcd")), max_size=30)


@settings(max_examples=30, deadline=None)
@given(portions=st.lists(PAIRS, max_size=4), limit=st.integers(2, 9))
def test_however_they_are_cut_packs_say_what_was_said(
    portions: list[list[tuple[str, str]]], limit: int
) -> None:
    """Any portions and any bound: the same judgements in the same order, and an anchor is cut only by the bound."""
    said = [pair for portion in portions for pair in portion]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "MATCHES", limit)
        packs = list(gathered([judged(portion) for portion in portions]))
    assert [(anchor, match) for anchor, match, _ in judgements(packs)] == said
    assert all(0 < len(pack.matches) <= limit for pack in packs)
    runs = [len(list(run)) for _, run in groupby(anchor for anchor, _ in said)]
    if max(runs, default=0) <= limit // 2:
        assert sum(len(pack.anchors) for pack in packs) == len(runs)
