"""A candidate after its training: how far it goes, and what it is held against."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import finetuner
from finetuner.errors import LabelError, OptionError
from finetuner.matches import MatchSet
from finetuner.splits import sides
from finetuner.training.options import TrainingOptions
from tests.two_classes import encoder, match_documents

DATA = MatchSet.from_documents(match_documents(100))
QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 32}


def told(result: finetuner.FitResult, name: str) -> list[dict[str, Any]]:
    """Return the events of a name."""
    return [event for event in result.events if event["event"] == name]


def test_guards_are_judged_without_the_anchors_that_the_run_has_seen() -> None:
    """Of a guard that is the run's own data only the held-out anchors count, as on the holdout itself."""
    result = finetuner.fit(encoder(), DATA, guards={"same": DATA}, **QUICK)
    guard = result.evaluation["guards"]["same"]
    assert guard["left_out"] == 100 - result.evaluation["anchors"]
    assert guard["gain"] == result.evaluation["gain"]


def test_a_guard_of_other_anchors_counts_as_a_whole() -> None:
    """What the run has not seen is left in, and judged for rivals and candidate."""
    other = MatchSet.from_documents(match_documents(20, seed=9))
    result = finetuner.fit(encoder(), DATA, guards={"golden": other}, **QUICK)
    guard = result.evaluation["guards"]["golden"]
    assert (guard["anchors"], guard["left_out"]) == (20, 0)
    assert list(guard["metrics"]) == ["base", "candidate"]
    assert guard["metrics"]["candidate"] == finetuner.evaluate(result.encoder, other)["metrics"]["encoder"]


def test_labels_of_a_guard_mean_what_the_run_says() -> None:
    """A third value there is an error rather than a guess, and told before it has taken time to train."""
    events: list[str] = []
    with pytest.raises(LabelError, match="label 1 is neither"):
        finetuner.fit(
            encoder(),
            match_documents(40, label=lambda same: 5 if same else 0),
            guards={"golden": DATA},
            positive_label=5,
            negative_label=0,
            report=lambda event, figures: events.append(event),
            **QUICK,
        )
    assert events == []


def test_gains_are_told_in_the_metric_that_was_asked_for() -> None:
    """And its interval is wider with more confidence."""
    narrow = finetuner.fit(encoder(), DATA, primary="ndcg@10", confidence=0.5, **QUICK).evaluation
    wide = finetuner.fit(encoder(), DATA, primary="ndcg@10", confidence=0.99, **QUICK).evaluation
    mean, low, high = narrow["gain"]["base"]
    assert mean == pytest.approx(
        narrow["metrics"]["candidate"]["ndcg@10"] - narrow["metrics"]["base"]["ndcg@10"]
    )
    assert wide["gain"]["base"][1] < low < high < wide["gain"]["base"][2]


@pytest.mark.parametrize("validation", [0.0, 0.05])
def test_with_too_few_validation_anchors_it_stays_where_it_is(validation: float) -> None:
    """What is best for five of them is chance."""
    assert told(finetuner.fit(encoder(), DATA, validation=validation, **QUICK), "line") == []


def test_the_share_is_the_one_that_validation_anchors_like_best() -> None:
    """All shares are told with their scores, and the result is the encoder at that share."""
    result = finetuner.fit(encoder(), DATA, interpolate=[0.5], **QUICK)
    [line] = told(result, "line")
    assert list(line["scores"]) == ["0", "0.5", "1"]
    assert line["scores"][f"{line['share']:g}"] == max(line["scores"].values())
    _, validation, _ = DATA.parts(validation=0.1, holdout=0.1, seed=0)
    score = finetuner.evaluate(result.encoder, validation)["metrics"]["encoder"]["map"]
    assert score == pytest.approx(line["scores"][f"{line['share']:g}"], abs=1e-5)


@pytest.mark.parametrize("recipe", ["full", "adapter", "lora"])
def test_a_training_that_went_wrong_goes_back_to_its_start(recipe: str) -> None:
    """Where validation anchors contradict what was learnt, the encoder ends as it was before."""
    base = finetuner.fit(encoder(), DATA, epochs=10, batch_size=32).encoder
    learnt = sides(DATA.hashes[DATA.anchors], validation=0.1, holdout=0.1, seed=0) == 0
    spoiled = replace(DATA, labels=np.where(learnt[DATA.anchor_of], -DATA.labels, DATA.labels))
    result = finetuner.fit(base, spoiled, recipe=recipe, epochs=5, batch_size=32, learning_rate=0.1)
    assert told(result, "line")[0]["share"] == 0
    blobs = DATA.take(np.arange(10))
    np.testing.assert_allclose(result.encoder.embed(blobs), base.embed(blobs), atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"interpolate": [1.0]}, "1 is no share"),
        ({"primary": "hit@3"}, "'hit@3' is no metric; known are map"),
    ],
)
def test_what_is_out_of_range_is_told(wrong: dict[str, Any], message: str) -> None:
    """A share lies between both ends, and a metric is one that is computed."""
    with pytest.raises(OptionError, match=message):
        TrainingOptions.parse(wrong, where="fit")
