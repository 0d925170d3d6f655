"""Training: what is learnt, what is returned, what is refused, and that a seed decides all of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import finetuner
from finetuner.documents import Document, labelled
from finetuner.errors import DivergedError, EncoderError, LabelError, NothingToLearnError
from finetuner.features import FeatureCache
from finetuner.losses import make_objective
from finetuner.matches import MatchSet
from finetuner.samplers import MatchSampler
from finetuner.training.compare import compare, used_rows
from finetuner.training.fit import FitResult
from finetuner.training.loop import train
from finetuner.training.options import TrainingOptions
from finetuner.training.recipes import begin
from tests.two_classes import encoder, match_documents, points

FAST: dict[str, Any] = {"epochs": 12, "batch_size": 32, "learning_rate": 0.02}
Events = list[dict[str, Any]]


@pytest.fixture(scope="module")
def data() -> MatchSet:
    """Return 100 anchors with three matches of each kind."""
    return MatchSet.from_documents(match_documents(100))


@pytest.fixture(scope="module")
def result(data: MatchSet) -> FitResult:
    """Return a run that went well."""
    return finetuner.fit(encoder(), data, holdout=0.3, **FAST)


def events(result: FitResult, name: str) -> Events:
    """Return the events of one name."""
    return [event for event in result.events if event["event"] == name]


def pairs(labels: list[float], *, seed: int = 0) -> MatchSet:
    """Return anchors of which each has one match with one of the labels, of the same class if it is above 0."""
    blobs = points(3 * len(labels), seed=seed)
    others = [3 * at + 2 if label > 0 else 3 * at + 1 for at, label in enumerate(labels)]
    return MatchSet.from_documents(
        Document(blob=blobs[3 * at], matches=[Document(blob=blobs[other], tags=labelled({}, label))])
        for at, (other, label) in enumerate(zip(others, labels, strict=True))
    )


def weights(encoder: finetuner.Encoder) -> dict[str, Tensor]:
    """Return a copy of the weights."""
    return {name: value.clone() for name, value in encoder.state_dict().items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Return whether two sets of weights are equal in every bit."""
    return all(torch.equal(left[name], right[name]) for name in left.keys() | right.keys())


# learning


@pytest.mark.parametrize(
    ("loss", "given"),
    [
        ("infonce", {}),
        ("cosine", {}),
        ("contrastive", {}),
        ("triplet", {"mining": "semi-hard"}),
        ("cosent", {"scale": 5}),
        ("margin_mse", {}),
        ("pml:MultiSimilarityLoss", {"alpha": 2}),
        ("pml:ProxyAnchorLoss", {}),
    ],
)
def test_every_loss_learns(data: MatchSet, loss: str, given: dict[str, Any]) -> None:
    """On anchors that were held out the tuned encoder ranks better than the base, beyond chance."""
    fitted = finetuner.fit(encoder(), data, loss=loss, loss_options=given, holdout=0.3, **FAST)
    assert fitted.evaluation["gain"]["base"][1] > 0.04


def test_a_tiny_set_can_be_learnt_by_heart() -> None:
    """With nothing held out, every anchor's first match ends up as a positive one."""
    tiny = MatchSet.from_documents(match_documents(16, seed=3))
    options: dict[str, Any] = {"epochs": 60, "learning_rate": 0.03, "validation": 0, "holdout": 0}
    tuned = finetuner.fit(encoder(), tiny, **options).encoder
    metrics = finetuner.evaluate({"base": encoder(), "tuned": tuned}, tiny)["metrics"]
    assert metrics["base"]["hit@1"] < metrics["tuned"]["hit@1"] == 1


def test_positives_alone_teach_through_the_other_anchors() -> None:
    """Without one negative judgement the matches of other anchors serve as negatives."""
    documents = match_documents(100, label=lambda same: 1 if same else None)
    fitted = finetuner.fit(encoder(), documents, holdout=0.3, **FAST)
    assert fitted.evaluation["gain"]["base"][1] > 0


def test_one_judgement_an_anchor_is_enough_for_the_cosine() -> None:
    """It is told values rather than compares, so anchors with a positive or a negative alone teach it."""
    data = pairs([1, -1] * 40)
    tuned = finetuner.fit(encoder(), data, loss="cosine", validation=0, holdout=0, **FAST).encoder
    cosines = [
        (one.embed(data.contents)[data.anchors] * one.embed(data.contents)[data.matches]).sum(axis=1)
        for one in (encoder(), tuned)
    ]
    before, after = (np.square(cosine - data.labels).mean() for cosine in cosines)
    assert after < before / 2


def test_the_users_label_values_are_honoured() -> None:
    """0 for a positive and 5 for a negative train the same weights as 1 and -1."""
    own = match_documents(40, label=lambda same: 0 if same else 5)
    usual = finetuner.fit(encoder(), match_documents(40), epochs=2)
    fitted = finetuner.fit(encoder(), own, epochs=2, positive_label=0, negative_label=5)
    assert same(weights(fitted.encoder), weights(usual.encoder))


# the result


def test_the_given_encoder_is_unchanged(data: MatchSet) -> None:
    """Neither its weights nor the caller's random numbers are touched by a fit."""
    given = encoder()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    fitted = finetuner.fit(given, data, epochs=1)
    assert torch.equal(torch.rand(2), expected)
    assert same(weights(given), weights(encoder()))
    assert not same(weights(given), weights(fitted.encoder))


def test_an_encoder_can_be_named() -> None:
    """A name builds the base, with weights drawn from the run's seed."""
    blobs = np.random.default_rng(0).random((3, 28, 28))
    matches = [
        Document(blob=blob, tags=labelled({}, label)) for blob, label in zip(blobs[1:], (1, -1), strict=True)
    ]
    options: dict[str, Any] = {"epochs": 1, "seed": 4, "validation": 0, "holdout": 0}
    tuned = finetuner.fit("mlp", [Document(blob=blobs[0], matches=matches)], **options).encoder
    base = finetuner.build_encoder(finetuner.EncoderSpec("mlp"), seed=4)
    moved = weights(tuned)["module.4.bias"] - weights(base)["module.4.bias"]
    assert tuned.spec == base.spec
    assert 0 < moved.abs().max() < 0.01


def test_a_run_tells_what_it_did(data: MatchSet, result: FitResult) -> None:
    """The split comes first, then each epoch, then the share that was taken, then the evaluation that is also returned."""
    told = [event["event"] for event in result.events if event["event"] != "progress"]
    assert told == ["split", "recipe", *["epoch"] * 12, "line", "evaluated"]
    split = result.events[0]
    assert split["training"] + split["validation"] + split["holdout"] == len(data)
    assert (split["contents"], split["judgements"]) == (100, 600)
    assert [event["epoch"] for event in events(result, "epoch")] == list(range(1, 13))
    assert events(result, "evaluated") == [{"event": "evaluated", **result.evaluation}]


def test_the_evaluation_is_of_the_held_out_anchors(data: MatchSet, result: FitResult) -> None:
    """Its anchors, metrics and gain are those of the split by the run's seed, seen contents included."""
    rest, holdout = data.split(0.3, seed=0)
    again = compare({"base": encoder(), "candidate": result.encoder}, holdout, seed=0)
    seen = result.evaluation["seen_contents"]
    assert {name: result.evaluation[name] for name in again} == again
    assert again["anchors"] == result.events[0]["holdout"] == len(holdout)
    assert 0 < seen <= len(set(used_rows(holdout)) & set(used_rows(rest)))


def test_nothing_held_out_means_nothing_evaluated(data: MatchSet) -> None:
    """Without held-out anchors there are no metrics and no gain, rather than those of the training."""
    found = finetuner.fit(encoder(), data, epochs=1, holdout=0).evaluation
    assert (found["anchors"], found["metrics"], found["gain"], found["seen_contents"]) == (0, {}, {}, 0)


def trained(
    tmp_path: Path, data: MatchSet, validation: MatchSet, **options: Any
) -> tuple[finetuner.Encoder, Events, list[dict[str, Tensor]]]:
    """Train all weights of an encoder; return it, the epochs and their weights."""
    learns, seen, epochs = encoder(), [], []

    def report(event: str, figures: dict[str, Any]) -> None:
        if event == "epoch":
            epochs.append(figures)
            seen.append(weights(learns))

    chosen = TrainingOptions(**{**FAST, **options})
    trainee = begin("full", learns, data, chosen, cache=FeatureCache(tmp_path / "cache", most_bytes=10**6))
    objective = make_objective("infonce", {}, dim=4)
    sampler = MatchSampler(data, batch_size=chosen.batch_size, matches_per_anchor=64, seed=0)
    train(trainee, objective, sampler, data, validation, chosen, state=tmp_path / "state", report=report)
    return learns, epochs, seen


def opposed(tmp_path: Path, **options: Any) -> tuple[finetuner.Encoder, Events, list[dict[str, Tensor]]]:
    """Train while the validation says the opposite; return the encoder, the epochs and their weights."""
    data = MatchSet.from_documents(match_documents(60))
    against = MatchSet.from_documents(match_documents(60, seed=1, label=lambda same: -1 if same else 1))
    return trained(tmp_path, data, against, **options)


def test_the_best_epochs_weights_are_returned(tmp_path: Path) -> None:
    """Of epochs whose validation gets worse and worse the first one's weights come back, not the last one's."""
    tuned, epochs, seen = opposed(tmp_path)
    best = int(np.argmax([epoch["validation_map"] for epoch in epochs]))
    assert best < len(epochs) - 1
    assert same(weights(tuned), seen[best])
    assert not same(weights(tuned), seen[-1])


@pytest.mark.parametrize("patience", [1, 4])
def test_it_stops_after_epochs_without_a_better_one(tmp_path: Path, patience: int) -> None:
    """Once ``patience`` epochs have brought nothing better than the best one, no further one follows."""
    _, epochs, _ = opposed(tmp_path, patience=patience, epochs=30)
    best = int(np.argmax([epoch["validation_map"] for epoch in epochs]))
    assert len(epochs) == best + 1 + patience


def test_without_validation_the_last_epochs_weights_are_returned(tmp_path: Path) -> None:
    """Where nothing tells epochs apart, the training goes on to its end and that is the result."""
    data = MatchSet.from_documents(match_documents(30))
    nothing = data.only(np.array([], np.int64))
    tuned, _, seen = trained(tmp_path, data, nothing, epochs=4)
    assert len(seen) == 4
    assert same(weights(tuned), seen[3])
    assert not same(weights(tuned), seen[2])


# refusals


def nothing_positive() -> MatchSet:
    """Return match data in which everything is negative."""
    return MatchSet.from_documents(match_documents(20, label=lambda same: -1))


def one_anchor() -> MatchSet:
    """Return a single anchor with positives alone."""
    return MatchSet.from_documents(match_documents(20, label=lambda same: 1 if same else None)[:1])


@pytest.mark.parametrize(
    ("make", "options", "fault"),
    [
        (nothing_positive, {}, "none of the 120 judgements is positive"),
        (one_anchor, {}, "none of the 1 anchors to learn from has a positive and something to tell it from"),
        (lambda: pairs([1] * 20), {"loss": "cosine"}, "no judgement is negative, and loss 'cosine'"),
        (
            lambda: pairs([1] * 20),
            {"loss": "contrastive", "in_batch_negatives": False},
            "no judgement is negative, and loss 'contrastive'",
        ),
        (lambda: pairs([1] * 20), {"in_batch_negatives": False}, "something to tell it from"),
    ],
)
def test_match_data_that_teaches_nothing_is_refused(
    make: Callable[[], MatchSet], options: dict[str, Any], fault: str
) -> None:
    """No positive, nothing to tell one from, or nothing but positives for a loss that needs both."""
    with pytest.raises(NothingToLearnError, match=fault):
        finetuner.fit(encoder(), make(), validation=0, holdout=0, **options)


@pytest.mark.parametrize("holdout", [0, 0.3])
def test_a_step_size_that_breaks_the_encoder_is_reported(data: MatchSet, holdout: float) -> None:
    """One step an epoch, in which no loss can tell yet, is enough to see that nothing usable is left."""
    with pytest.raises(DivergedError, match=r"after epoch 1; try a learning_rate below 1e\+20"):
        finetuner.fit(
            encoder(), data, learning_rate=1e20, batch_size=100, validation=holdout, holdout=holdout
        )


def test_a_loss_that_is_not_finite_is_reported(data: MatchSet) -> None:
    """Within an epoch the loss itself tells."""
    with pytest.raises(DivergedError, match=r"the loss is nan in epoch 1; try a learning_rate below 1e\+30"):
        finetuner.fit(encoder(), data, learning_rate=1e30, batch_size=8)


def test_contents_that_the_encoder_does_not_take_are_refused(data: MatchSet) -> None:
    """Points of six numbers for an encoder of 784 are an EncoderError, not one of torch."""
    with pytest.raises(EncoderError, match=r"encoder 'mlp' does not take torch\.float32 \(6,\)"):
        finetuner.fit("mlp", data)


def test_a_third_label_value_is_refused(data: MatchSet) -> None:
    """Who names two values has to have no other one."""
    with pytest.raises(LabelError, match="label -1 is neither"):
        finetuner.fit(encoder(), data, positive_label=1, negative_label=0)


def test_labels_of_1_and_0_are_pointed_out() -> None:
    """The split tells that zeros judge nothing, and what to do if they were meant as negatives."""
    result = finetuner.fit(encoder(), match_documents(30, label=lambda same: 1 if same else 0), epochs=1)
    assert "negative_label=0" in result.events[0]["hint"]


def test_what_a_notebook_tuned_can_be_kept(result: FitResult, tmp_path: Path) -> None:
    """Saved and loaded, the tuned encoder embeds the same, and its card tells what it is worth."""
    result.save(tmp_path / "mine")
    loaded = finetuner.load(tmp_path / "mine")
    assert np.array_equal(loaded.embed(points(5)), result.encoder.embed(points(5)))
    assert "| map |" in (tmp_path / "mine" / "card.md").read_text()


def test_a_split_that_leaves_nothing_to_learn_from_is_refused() -> None:
    """With every anchor held out the error speaks of the split, not of the labels."""
    held_out: dict[str, Any] = {"validation": 0.5, "holdout": 0.49}
    with pytest.raises(NothingToLearnError, match="all of the 1 anchors are held out"):
        finetuner.fit(encoder(), match_documents(30)[:1], epochs=1, **held_out)
