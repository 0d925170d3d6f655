"""Documents embedded again: which ones, by which version, in which order, and where they go on."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from executors.endpoints.reembedding import ReembedParameters
from finetuner.checksums import PackChecksum
from finetuner.compatibility import Map, Stamped, fit_map, reembed_order
from finetuner.compatibility.kept import write_map, write_spaces
from finetuner.documents import Document, labelled
from finetuner.errors import ChangedDataError, ContentError, MatchDataError, OptionError, UnknownSpaceError
from finetuner.features import FeatureCache
from finetuner.lifecycle import Registry
from finetuner.models import Embeddings, Encoder
from finetuner.packing import packed
from finetuner.service import reembedding as module
from finetuner.service.collected import Collected
from finetuner.service.reembedding import Again, Reembedding, ReembedOptions
from finetuner.service.spaces import VersionSpaces
from tests.two_classes import SPEC, encoder, points

POINTS = points(40)
ENCODERS = {f"v{seed}": encoder(seed=seed) for seed in range(3)}
"""v1 comes with a map to v0; v2 makes the documents of v0, and knows no way to v1."""


@pytest.fixture
def reembedding(tmp_path: Path) -> Reembedding:
    """Return what embeds again with the versions of a registry, of which v1 is active."""
    registry = Registry(tmp_path / "registry")
    for name, made in ENCODERS.items():
        weights = tmp_path / name
        made.save(weights)
        if name == "v1":
            write_map(weights, "v0", between())
            write_spaces(weights, {"v0": {"kind": "affine"}})
        if name == "v2":
            write_spaces(weights, {"v0": {"same_documents": True}})
        registry.register(weights, SPEC, {})
    registry.activate("v1")
    cache = FeatureCache(tmp_path / "features", most_bytes=10**7)
    return Reembedding(registry, SPEC, VersionSpaces(registry), cache)


def between() -> Map:
    """Return the map from v1 to v0."""
    old, new = (Stamped(one, ENCODERS[one].embed(POINTS)) for one in ("v0", "v1"))
    return fit_map(old, new, seed=0, kinds=["affine"]).map


def documents(count: int = 40) -> list[Document]:
    """Return two anchors, whose matches are all points but the first two; the last one has the content of the first."""
    matches = [Document(id=f"d{row}", blob=POINTS[row], tags=labelled({}, 1)) for row in range(2, count)]
    matches.append(Document(id="twin", blob=POINTS[0], tags=labelled({}, 1)))
    return [
        Document(id="d0", blob=POINTS[0], matches=matches[: count // 2]),
        Document(id="d1", blob=POINTS[1], matches=matches[count // 2 :]),
    ]


def collected(given: Iterable[Document], *, anchors: bool = True) -> tuple[Collected, dict[str, Any]]:
    """Return documents as they come from the data Executor, one anchor a pack, and what exactly they are."""
    found, checksum = Collected("blob", floats=True, anchors=anchors), PackChecksum()
    for pack in packed(given, anchors=1):
        found.extend(pack)
        checksum.add(pack)
    return found, {"position": 3, "checksum": checksum.hexdigest()}


def again(
    reembedding: Reembedding, given: list[Document] | None = None, *, anchors: bool = True, **options: Any
) -> list[Again]:
    """Return what is embedded again."""
    found, snapshot = collected(documents() if given is None else given, anchors=anchors)
    rebuilding = reembedding.begin(found, snapshot, ReembedOptions(anchors=anchors, **options))
    return [one for portion in rebuilding for one in portion]


def embeddings(one: Encoder, names: Iterable[str]) -> Embeddings:
    """Return what an encoder makes of documents."""
    return one.embed(np.stack([POINTS[0 if name == "twin" else int(name[1:])] for name in names]))


def test_each_document_comes_once_by_the_version_that_serves(reembedding: Reembedding) -> None:
    """Two that have the same content come both, and without an old version all come as they are in the collection."""
    found = again(reembedding)
    rows = [0, *range(2, 22), 1, *range(22, 40)]
    assert [one.name for one in found] == [*(f"d{row}" for row in rows), "twin"]
    made = embeddings(ENCODERS["v1"], [one.name for one in found])
    np.testing.assert_allclose(np.stack([one.embedding for one in found]), made, atol=1e-6)
    assert {one.cursor.version for one in found} == {"v1"}


def test_those_come_first_about_which_the_map_is_wrong_most(reembedding: Reembedding) -> None:
    """In the order of compatibility, of contents that both versions have embedded; equal contents side by side."""
    names = [one.name for one in again(reembedding)][:-1]
    old, new = (Stamped(one, embeddings(ENCODERS[one], names)) for one in ("v0", "v1"))
    order = reembed_order(between(), old, new, old)
    found = [one.name for one in again(reembedding, old="v0")]
    assert found.index("twin") == found.index("d0") + 1
    found.remove("twin")
    assert found == [names[row] for row in order]


@pytest.mark.parametrize("old", [None, "base"])
def test_cut_anywhere_it_goes_on_at_the_cursor(
    reembedding: Reembedding, old: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came before the cut and what comes after it are the documents of one stream, in its order."""
    monkeypatch.setattr(module, "_PORTION", 7)
    whole = again(reembedding, old=old)
    for cut in (1, 7, 20, 41):
        rest = again(reembedding, old=old, cursor=str(whole[cut - 1].cursor))
        assert [one.name for one in whole[:cut] + rest] == [one.name for one in whole]
        for one, wanted in zip(rest, whole[cut:], strict=True):
            np.testing.assert_array_equal(one.embedding, wanted.embedding)
            assert one.cursor == wanted.cursor


def test_a_cursor_keeps_its_version(reembedding: Reembedding) -> None:
    """Another one is active meanwhile, and the index becomes one of the version with which it was begun."""
    first = again(reembedding)[0]
    reembedding._registry.activate("v2")
    assert again(reembedding, cursor=str(first.cursor))[0].cursor.version == "v1"
    assert again(reembedding)[0].cursor.version == "v2"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"version": "v2"}, "the version that embeds was v1, and is v2"),
        ({"old": None}, "the version that the index was built with was v0, and is none"),
        ({"given": documents(39)}, "the collection: documents were deleted"),
        ({"anchors": False}, "the order of the documents: other ones are asked for"),
    ],
)
def test_what_has_changed_since_is_told(reembedding: Reembedding, changed: dict[str, Any], told: str) -> None:
    """A cursor is good for the same documents in the same order by the same version, and for nothing else."""
    cursor = str(again(reembedding, old="v0")[5].cursor)
    with pytest.raises(ChangedDataError, match=f"cursor '{cursor}': {told}.*; begin again"):
        again(reembedding, **{"old": "v0", "cursor": cursor, **changed})


@pytest.mark.parametrize("old", [None, "v0"])
def test_the_same_documents_in_another_order_are_other_ones(
    reembedding: Reembedding, old: str | None
) -> None:
    """Where each anchor is a match as well, anchors change nothing but the order, in which some would be missed."""
    given = documents()
    twins = [
        Document(id=one.id, blob=one.blob, tags=labelled({}, 1), matches=[]) for one in (given[1], given[0])
    ]
    given.append(Document(id="d2", blob=POINTS[2], matches=twins))
    cursor = str(again(reembedding, given, old=old)[5].cursor)
    names = [[one.name for one in again(reembedding, given, anchors=one, old=old)] for one in (True, False)]
    assert sorted(names[0]) == sorted(names[1])
    with pytest.raises(ChangedDataError, match="the order of the documents: other ones are asked for"):
        again(reembedding, given, anchors=False, old=old, cursor=cursor)


@pytest.mark.parametrize("cursor", ["", "5", "3-5-v1-v0-abc", "3-x-v1-v0-abc-def", "3-5-v1--abc-def"])
def test_what_is_no_cursor_is_refused(reembedding: Reembedding, cursor: str) -> None:
    """The message shows what one looks like."""
    with pytest.raises(OptionError, match="is none; give one as it came"):
        again(reembedding, cursor=cursor)


@pytest.mark.parametrize(("version", "old"), [("v2", "v0"), ("v1", "v1")])
def test_documents_that_are_the_same_are_not_embedded_again(
    reembedding: Reembedding, version: str, old: str
) -> None:
    """Of a version that adapts queries alone, and of one's own, the index is good as it is."""
    assert again(reembedding, version=version, old=old) == []


def test_without_a_map_there_is_no_order(reembedding: Reembedding) -> None:
    """It is not guessed; the error lists the versions for whose index there is one."""
    with pytest.raises(UnknownSpaceError, match="in those of v0"):
        again(reembedding, version="v2", old="v1")


def test_anchors_that_are_no_matches_can_be_left_out(reembedding: Reembedding) -> None:
    """Where anchors are questions, they are not in the index."""
    found = {one.name for one in again(reembedding, anchors=False)}
    assert found == {"twin", *(f"d{row}" for row in range(2, 40))}


def test_the_end_tells_of_the_whole(reembedding: Reembedding) -> None:
    """How many documents there are, those before the cursor included, and by which version for which index."""
    found, snapshot = collected(documents())
    cursor = str(again(reembedding, old="v0")[5].cursor)
    end = reembedding.begin(found, snapshot, ReembedOptions(old="v0", cursor=cursor)).end()
    assert end == {"total": 41, "version": "v1", "old": "v0", "position": 3}


def test_an_empty_collection_is_an_error(reembedding: Reembedding) -> None:
    """Rather than an index of nothing."""
    with pytest.raises(MatchDataError, match="no document"):
        again(reembedding, [])


def test_a_collection_has_to_be_named() -> None:
    """A stream brings no documents of its own, so none are asked for."""
    with pytest.raises(OptionError, match="/reembed: option 'collection' is missing"):
        ReembedParameters.parse({}, where="/reembed")


def test_documents_without_the_content_are_refused() -> None:
    """Texts are no blobs."""
    with pytest.raises(ContentError, match=r"document 'a' has no \.blob"):
        collected([Document(id="a", text="a")])
