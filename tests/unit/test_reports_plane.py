"""The map of embeddings: what is drawn, what belongs together, and that a plane stays as it is."""

import numpy as np
import pytest

from finetuner.models import Embeddings
from finetuner.reports import plane as plane_room
from finetuner.reports.findings import OTHERS
from finetuner.reports.plane import Drawn, drawn, plane
from tests.small_matches import match_set, of_classes


def everything(count: int) -> Drawn:
    """Return that all of so many contents are drawn."""
    return Drawn(np.arange(count), ("all",), np.zeros(count, np.int64), ())


def places(embeddings: Embeddings) -> Embeddings:
    """Return where the map puts embeddings, (N, 2)."""
    return np.array([point[:2] for point in plane("x", embeddings, everything(len(embeddings))).points])


def test_what_lies_in_a_plane_keeps_its_distances() -> None:
    """Points of two dimensions, turned into seven, are as far apart on the map as they are; all variance is held."""
    random = np.random.default_rng(0)
    flat = random.normal(size=(40, 2)) * [3, 1]
    turned, _ = np.linalg.qr(random.normal(size=(7, 2)))
    embeddings = (flat @ turned.T + random.normal(size=7)).astype(np.float32)
    mapped = places(embeddings)
    apart, on_the_map = (np.linalg.norm(of[:, None] - of, axis=2) for of in (flat, mapped))
    np.testing.assert_allclose(on_the_map, apart, atol=1e-3)
    assert plane("x", embeddings, everything(40)).explained == pytest.approx(1)
    assert mapped[:, 0].var() > mapped[:, 1].var()


def test_the_share_of_variance_is_that_of_the_first_two() -> None:
    """Variances of 9, 4, 2 and 1, independent of each other: 13 of 16."""
    signs = np.array([[1 if at & bit else -1 for bit in (1, 2, 4, 8)] for at in range(16)])
    embeddings = (signs * [3, 2, np.sqrt(2), 1]).astype(np.float32)
    assert plane("x", embeddings, everything(16)).explained == pytest.approx(13 / 16)


@pytest.mark.parametrize("embeddings", [np.ones((5, 3), np.float32), np.ones((1, 3), np.float32)])
def test_all_on_one_point_is_a_map_too(embeddings: Embeddings) -> None:
    """A collapsed encoder holds no variance, and nothing is divided by it."""
    made = plane("x", embeddings, everything(len(embeddings)))
    assert made.explained == 0
    assert {point[:2] for point in made.points} == {(0, 0)}


def test_one_dimension_is_a_line() -> None:
    """Embeddings of one number have no second component."""
    mapped = places(np.array([[-1], [1], [1]], np.float32))
    assert (mapped[:, 1] == 0).all()


def test_classes_are_told_apart_and_named_by_segments() -> None:
    """What positives connect is a class; it is named as most of its anchors are, if they agree."""
    matches = match_set(of_classes(anchors=40, contents=60, classes=3))
    unnamed = drawn(matches, None, seed=0)
    assert unnamed.groups == ("group 1", "group 2", "group 3", OTHERS)
    assert unnamed.lines == ()
    number = np.array([int(matches.ids[row]) % 3 for row in unnamed.rows])
    for one in range(3):
        assert len(set(number[unnamed.group == one])) == 1
    segments = {matches.ids[row]: f"class {int(matches.ids[row]) % 3}" for row in matches.anchors}
    named = drawn(matches, segments, seed=0)
    assert sorted(named.groups[:3]) == ["class 0", "class 1", "class 2"]
    of = {f"class {number[at]}" == named.groups[named.group[at]] for at in np.flatnonzero(named.group < 3)}
    assert of == {True}


def test_segments_that_do_not_tell_classes_apart_name_none() -> None:
    """Two classes of one name would be a lie, and so would be the name of a few."""
    matches = match_set(of_classes(anchors=40, contents=60, classes=3))
    few = {str(anchor): f"segment {anchor % 3}" for anchor in range(15)}
    for segments in (dict.fromkeys(matches.ids, "same"), few):
        assert drawn(matches, segments, seed=0).groups[:3] == ("group 1", "group 2", "group 3")


def test_without_classes_lines_join_anchors_with_a_positive() -> None:
    """Questions and answers: each line is a positive judgement, one for an anchor."""
    matches = match_set({f"q{at}": {f"a{at}": 1.0, f"a{(at + 1) % 20}": -1.0} for at in range(20)})
    found = drawn(matches, None, seed=0)
    assert found.groups == ("anchor", "match")
    names = [(matches.ids[found.rows[one]], matches.ids[found.rows[other]]) for one, other in found.lines]
    assert sorted(names) == sorted((f"q{at}", f"a{at}") for at in range(20))
    assert [found.group[at] for pair in found.lines[:3] for at in pair] == [0, 1] * 3


def test_a_map_does_not_grow_with_the_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many points and lines are drawn at most, and the seed decides which."""
    monkeypatch.setattr(plane_room, "POINTS", 10)
    monkeypatch.setattr(plane_room, "LINES", 3)
    pairs = match_set({f"q{at}": {f"a{at}": 1.0, f"a{(at + 1) % 20}": -1.0} for at in range(20)})
    classes = match_set(of_classes(anchors=40, contents=60, classes=3))
    for matches, lines in ((pairs, 3), (classes, 0)):
        found = drawn(matches, None, seed=0)
        assert (len(found.rows), len(found.lines)) == (10, lines)
        np.testing.assert_array_equal(found.rows, drawn(matches, None, seed=0).rows)
        assert found.rows.tolist() != drawn(matches, None, seed=1).rows.tolist()
