"""What comes with a new version: which contents its maps are fitted to, what is told of them, and how they are read."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetuner.compatibility import Map, Stamped, fit_maps, read_spaces, same_documents
from finetuner.compatibility import promotion as module
from finetuner.documents import Document, labelled
from finetuner.errors import DamagedVersionError
from finetuner.features import FeatureCache
from finetuner.matches import MatchSet, Parts
from finetuner.models import Encoder, EncoderSpec, build_encoder
from finetuner.models.heads import HeadSpec
from tests.two_classes import encoder, points

OPPOSITE = EncoderSpec("tests.two_classes:scaled", {"sign": -1})
PLAIN = EncoderSpec("tests.two_classes:scaled")
"""Two encoders whose spaces are each other's mirror image: a rotation is all that it takes."""


def asymmetric(count: int = 60) -> MatchSet:
    """Return queries, each with a document of its own and one of the next query's, which is wrong."""
    queries, documents = points(count, seed=1), points(count, seed=2)
    return MatchSet.from_documents(
        Document(
            id=f"q{number}",
            blob=queries[number],
            matches=[
                Document(id=f"d{number}", blob=documents[number], tags=labelled({}, 1)),
                Document(
                    id=f"d{(number + 1) % count}", blob=documents[(number + 1) % count], tags=labelled({}, -1)
                ),
            ],
        )
        for number in range(count)
    )


def parts(matches: MatchSet, first: int, second: int) -> Parts:
    """Return training, validation and holdout, cut at two anchors."""
    place = np.arange(len(matches))
    chosen = place < first, (place >= first) & (place < second), place >= second
    training, validation, holdout = (matches.only(one) for one in chosen)
    return training, validation, holdout


def fitted(folder: Path, candidate: Encoder, some: Parts, **rivals: Encoder) -> dict[str, dict[str, Any]]:
    """Fit maps into the spaces of others, and return the figures."""
    cache = FeatureCache(folder / "features", most_bytes=10**7)
    return fit_maps(candidate, rivals, parts=some, cache=cache, folder=folder, seed=0)


def test_a_map_is_fitted_judged_and_read_again(tmp_path: Path) -> None:
    """Unmapped queries of the opposite space find nothing, mapped ones all that new ones find; the reader names it."""
    candidate, old = build_encoder(OPPOSITE), build_encoder(PLAIN)
    told = fitted(tmp_path, candidate, parts(asymmetric(), 30, 45), v0=old)["v0"]
    assert told["kind"] == "rotation"
    assert told["recall"]["mapped->old"] == told["recall"]["new->new"] > told["recall"]["new->old"]
    made = read_spaces(tmp_path, "v7")["v0"]
    assert made is not None
    asked = points(5, seed=9)
    mapped = made.apply(Stamped("v7", candidate.embed(asked)))
    assert mapped.version == "v0"
    np.testing.assert_allclose(mapped.vectors, old.embed(asked), atol=1e-5)


def test_contents_that_training_has_not_seen_are_enough_if_they_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the other parts but for training's and the held-out anchors; with a higher mark those of training, too."""
    some = parts(asymmetric(), 30, 45)
    candidate, old = build_encoder(OPPOSITE), build_encoder(PLAIN)
    monkeypatch.setattr(module, "ENOUGH", 40)
    # 15 anchors of validation, and documents 31 to 59: document 30 is training's, and so is document 0
    told = fitted(tmp_path, candidate, some, v0=old)["v0"]
    assert (told["contents"], told["unseen"]) == (44, True)
    monkeypatch.setattr(module, "ENOUGH", 45)
    told = fitted(tmp_path, candidate, some, v0=old)["v0"]
    assert (told["contents"], told["unseen"]) == (105, False)


def test_held_out_anchors_ask_and_what_they_judge_is_found(tmp_path: Path) -> None:
    """Queries are the held-out anchors with a positive; documents what the map was fitted to, and all that they use."""
    candidate, old = build_encoder(OPPOSITE), build_encoder(PLAIN)
    told = fitted(tmp_path, candidate, parts(asymmetric(), 30, 45), v0=old)["v0"]
    assert (told["queries"], told["documents"], told["k"], told["relevant"]) == (15, 120, 10, "judged")


def test_without_judgements_the_nearest_in_the_new_space_are_relevant(tmp_path: Path) -> None:
    """Held-out anchors without a positive still tell what a map keeps."""
    some = parts(asymmetric(), 30, 45)
    unjudged = *some[:2], replace(some[2], labels=-np.abs(some[2].labels))
    told = fitted(tmp_path, build_encoder(OPPOSITE), unjudged, v0=build_encoder(PLAIN))["v0"]
    assert (told["relevant"], told["queries"], told["recall"]["new->new"]) == ("nearest", 15, 1)


def test_without_held_out_anchors_there_is_a_map_and_no_recall(tmp_path: Path) -> None:
    """A run that holds nothing out still gets its map."""
    told = fitted(tmp_path, build_encoder(OPPOSITE), parts(asymmetric(), 40, 60), v0=build_encoder(PLAIN))[
        "v0"
    ]
    assert told["kind"] == "rotation"
    assert "recall" not in told


def test_too_few_contents_make_no_map_and_say_so(tmp_path: Path) -> None:
    """Fifteen contents are one too few: the version comes without the map, and there is no way into that space."""
    matches = asymmetric(7)
    told = fitted(tmp_path, build_encoder(OPPOSITE), parts(matches, 4, 5), v0=build_encoder(PLAIN))["v0"]
    assert told == {
        "same_documents": False,
        "reason": "12 contents are too few to fit a map to; 16 are needed",
    }
    assert read_spaces(tmp_path, "v1") == {}


def test_an_adapter_of_queries_needs_no_map(tmp_path: Path) -> None:
    """Documents are the same bit for bit, so that queries ask in the old space as they are."""
    old = encoder()
    candidate = adapted(old, queries_only=True)
    assert fitted(tmp_path, candidate, parts(asymmetric(), 30, 45), v0=old) == {
        "v0": {"same_documents": True}
    }
    assert read_spaces(tmp_path, "v1") == {"v0": None}


def adapted(base: Encoder, *, queries_only: bool) -> Encoder:
    """Return a copy with an adapter that moves things."""
    made = copy.deepcopy(base)
    made.heads.append(HeadSpec("adapter", 4, 4, queries_only=queries_only))
    with torch.no_grad():
        list(made.heads.parameters())[-1].fill_(0.5)
    return made


def test_documents_are_the_same_only_if_all_that_makes_them_is() -> None:
    """Another module, a head that documents pass, or other weights of one make others; a head of queries does not."""
    base = encoder()
    both = adapted(base, queries_only=False)
    other = copy.deepcopy(both)
    with torch.no_grad():
        list(other.heads.parameters())[-1].fill_(0.25)
    assert same_documents(base, copy.deepcopy(base))
    assert same_documents(both, adapted(both, queries_only=True))
    assert not same_documents(base, encoder(seed=1))
    assert not same_documents(base, both)
    assert not same_documents(both, other)


def test_a_version_of_before_answers_in_its_own_space_only(tmp_path: Path) -> None:
    """A folder without maps has none."""
    assert read_spaces(tmp_path, "v1") == {}


def test_what_cannot_be_read_is_a_damaged_version(tmp_path: Path) -> None:
    """Neither a list that is none, nor a map that is listed and gone, is taken for no map."""
    fitted(tmp_path, build_encoder(OPPOSITE), parts(asymmetric(), 30, 45), v0=build_encoder(PLAIN))
    about = tmp_path / "maps" / "spaces.json"
    (tmp_path / "maps" / "v0" / "map.json").unlink()
    with pytest.raises(DamagedVersionError, match="not a map"):
        read_spaces(tmp_path, "v1")
    about.write_text("[]")
    with pytest.raises(DamagedVersionError, match="spaces of versions"):
        read_spaces(tmp_path, "v1")


def test_the_map_on_disk_takes_no_version_by_name(tmp_path: Path) -> None:
    """Its own version has no name yet when it is written, so it calls it the candidate."""
    fitted(tmp_path, build_encoder(OPPOSITE), parts(asymmetric(), 30, 45), v0=build_encoder(PLAIN))
    assert Map.load(tmp_path / "maps" / "v0").source == "candidate"
