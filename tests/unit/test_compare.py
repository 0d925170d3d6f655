"""Comparison of encoders: what is ranked for whom, and what the gain is."""

import numpy as np
import pytest

import finetuner
from finetuner.matches import MatchSet
from tests.two_classes import encoder, match_documents


@pytest.fixture(scope="module")
def data() -> MatchSet:
    """Return 100 anchors with three matches of each kind."""
    return MatchSet.from_documents(match_documents(100))


def test_encoders_are_compared_with_the_last_one(data: MatchSet) -> None:
    """The gain is last minus each other in MAP, 0 where both are the same, with its interval around it."""
    found = finetuner.evaluate({"first": encoder(1), "same": encoder(0), "last": encoder(0)}, data)
    mean, low, high = found["gain"]["first"]
    expected = found["metrics"]["last"]["map"] - found["metrics"]["first"]["map"]
    assert mean == pytest.approx(expected, abs=1e-12)
    assert low < mean < high
    assert found["gain"]["same"] == [0, 0, 0]
    assert list(found["gain"]) == ["first", "same"]


def test_one_encoder_is_evaluated_alone() -> None:
    """Documents will do as well as a match set, and there is nothing to gain."""
    found = finetuner.evaluate(encoder(), match_documents(20))
    assert (found["anchors"], list(found["metrics"]), found["gain"]) == (20, ["encoder"], {})


def test_anchors_with_both_signs_rank_their_own_judgements(data: MatchSet) -> None:
    """Where some anchors have positives alone, only those with both count."""
    documents = match_documents(100)
    for document in documents[:40]:
        document.matches = document.matches[:3]
    found = finetuner.evaluate(encoder(), documents)
    assert found["anchors"] == 60
    expected = finetuner.evaluate(encoder(), data.only(np.arange(40, 100)))
    assert found["metrics"] == expected["metrics"]


def test_positives_alone_are_looked_for_in_the_corpus() -> None:
    """All contents compete then, which is harder than the judged ones."""
    documents = match_documents(30, label=lambda same: 1 if same else None)
    strict = finetuner.evaluate(encoder(), documents)
    judged = finetuner.evaluate(encoder(), match_documents(30))
    assert strict["anchors"] == 30
    assert strict["metrics"]["encoder"]["map"] < judged["metrics"]["encoder"]["map"]


def test_anchors_without_a_positive_cannot_be_ranked() -> None:
    """Nothing was found, rather than a metric of 0."""
    assert finetuner.evaluate(encoder(), match_documents(20, label=lambda same: -1)) == {
        "anchors": 0,
        "metrics": {},
        "gain": {},
    }


def test_a_few_negatives_do_not_silence_the_rest() -> None:
    """Where most anchors have positives alone, all of them are looked for in the corpus."""
    documents = match_documents(30, label=lambda same: 1 if same else None)
    documents[0].matches = match_documents(30)[0].matches
    assert finetuner.evaluate(encoder(), documents)["anchors"] == 30


def test_a_label_of_0_judges_nothing() -> None:
    """In an evaluation it is as if nobody had judged, as it is in training."""
    zeros = match_documents(20, label=lambda same: 1 if same else 0)
    unjudged = match_documents(20, label=lambda same: 1 if same else None)
    found, expected = (finetuner.evaluate(encoder(), one)["metrics"] for one in (zeros, unjudged))
    assert found == expected
