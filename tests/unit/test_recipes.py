"""Recipes: what each of them trains, what it leaves alone, and which one suits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import finetuner
from finetuner.documents import Document, labelled
from finetuner.errors import DivergedError, NothingToLearnError, OptionError, TrainingError
from finetuner.features import FeatureCache
from finetuner.matches import MatchSet
from finetuner.models import Encoder, EncoderSpec, HeadSpec, build_encoder
from finetuner.training import recipes
from finetuner.training.fit import FitResult
from finetuner.training.options import TrainingOptions
from finetuner.training.schedule import rate
from tests.two_classes import encoder, match_documents, points

DATA = MatchSet.from_documents(match_documents(40))


def tuned(recipe: str, *, base: Encoder | None = None, **options: Any) -> FitResult:
    """Train a little by a recipe."""
    given = {"epochs": 2, "batch_size": 16, "learning_rate": 0.02} | options
    return finetuner.fit(base or encoder(), DATA, recipe=recipe, **given)


def changed(result: FitResult) -> set[str]:
    """Return the names of the module's weights that are not those of the base."""
    base = encoder().module.state_dict()
    return {n for n, value in result.encoder.module.state_dict().items() if not torch.equal(value, base[n])}


@pytest.mark.parametrize(
    ("recipe", "options", "moves", "heads"),
    [
        ("adapter", {}, set(), [HeadSpec("adapter", 4, 4)]),
        ("adapter", {"queries_only": True}, set(), [HeadSpec("adapter", 4, 4, queries_only=True)]),
        ("head", {"head_dim": 3}, set(), [HeadSpec("projection", 4, 3)]),
        ("lora", {"lora_layers": ["4"]}, {"4.weight"}, []),
        ("lora", {}, {"2.weight", "4.weight"}, []),
        ("full", {}, {"2.weight", "2.bias", "4.weight", "4.bias"}, []),
        ("full", {"freeze": ["2"]}, {"4.weight", "4.bias"}, []),
        ("full", {"freeze": ["*.weight"]}, {"2.bias", "4.bias"}, []),
    ],
)
def test_a_recipe_changes_what_it_says(
    recipe: str, options: dict[str, Any], moves: set[str], heads: list[HeadSpec]
) -> None:
    """Weights that are not named by the recipe keep every bit; the small matrices of LoRA end up in the weights."""
    result = tuned(recipe, **options)
    assert changed(result) == moves
    assert result.encoder.heads.specs == heads


def test_documents_keep_their_embeddings_under_a_query_adapter() -> None:
    """What an index holds stays right bit for bit, while queries embed differently."""
    result = tuned("adapter", queries_only=True)
    assert np.array_equal(result.encoder.embed(points(9)), encoder().embed(points(9)))
    assert not np.allclose(result.encoder.embed(points(9), side="query"), encoder().embed(points(9)))


def test_a_query_adapter_learns_to_rank() -> None:
    """Its gain on the anchors it learnt from is that of queries that are embedded as queries."""
    result = tuned("adapter", queries_only=True, epochs=30, learning_rate=0.05, validation=0, holdout=0)
    assert finetuner.evaluate({"base": encoder(), "tuned": result.encoder}, DATA)["gain"]["base"][0] > 0.02


def test_an_adapter_learns_on_where_there_is_one() -> None:
    """A second run trains the same head, rather than one behind it; another kind comes behind."""
    first = tuned("adapter").encoder
    assert tuned("adapter", base=first).encoder.heads.specs == [HeadSpec("adapter", 4, 4)]
    both = tuned("head", base=first, head_dim=2).encoder
    assert both.heads.specs == [HeadSpec("adapter", 4, 4), HeadSpec("projection", 4, 2)]
    assert both.embed(points(2)).shape == (2, 2)


def test_all_weights_include_those_of_heads() -> None:
    """A full training of an encoder with a head moves both."""
    first = tuned("adapter").encoder
    second = tuned("full", base=first).encoder
    before, after = (one.heads.layers[0].state_dict() for one in (first, second))
    assert not torch.equal(before["linear.weight"], after["linear.weight"])


class Pretrained(nn.Linear):
    """A layer that claims to have learnt from other data."""

    is_pretrained = True


@pytest.mark.parametrize(
    ("module", "positives", "recipe", "reason"),
    [
        (nn.Linear(6, 4), 10, "full", "learnt from nothing else"),
        (Pretrained(6, 4), 10, "adapter", "10 positive judgements are fewer than 2000"),
        (Pretrained(6, 4), 2000, "lora", "2000 positive judgements are 2000 or more"),
    ],
)
def test_auto_goes_by_encoder_and_amount_of_data(
    module: nn.Module, positives: int, recipe: str, reason: str
) -> None:
    """It says why."""
    blobs = points(2001)
    matches = [Document(blob=blob, tags=labelled({}, 1)) for blob in blobs[1 : 1 + positives]]
    data = MatchSet.from_documents([Document(blob=blobs[0], matches=matches)])
    chosen = recipes.choose(Encoder(module, EncoderSpec("own")), data, TrainingOptions())
    assert chosen.recipe == recipe
    assert reason in chosen.reason


def test_the_choice_is_reported() -> None:
    """The recipe event has both, also where the user chose."""
    assert {"event": "recipe", "recipe": "lora", "reason": "as asked for"} in tuned("lora").events


@pytest.mark.parametrize(
    ("able", "pretrained", "precision", "expected"),
    [
        (True, True, "auto", torch.bfloat16),
        (False, True, "auto", torch.float32),
        (True, False, "auto", torch.float32),
        (True, True, "float32", torch.float32),
        (False, False, "bfloat16", torch.bfloat16),
    ],
)
def test_bfloat16_is_taken_where_it_helps(
    monkeypatch: pytest.MonkeyPatch, able: bool, pretrained: bool, precision: str, expected: torch.dtype
) -> None:
    """By itself only for what is pretrained, on a processor that multiplies it; and wherever somebody asks for it."""
    monkeypatch.setattr(recipes, "multiplies_bfloat16", lambda: able)
    module = Pretrained(6, 4) if pretrained else nn.Linear(6, 4)
    made: list[torch.dtype] = []
    module.register_forward_hook(lambda layer, given, output: made.append(output.dtype))
    tuned(
        "full",
        base=Encoder(module, EncoderSpec("own")),
        precision=precision,
        epochs=1,
        holdout=0,
        validation=0,
    )
    assert (torch.bfloat16 in made) is (expected == torch.bfloat16)


def test_deeper_layers_move_less_under_layer_decay(tmp_path: Path) -> None:
    """With 0.1 the learning rate of the first of two layers is a tenth of the last one's."""
    options = TrainingOptions(recipe="full", layer_decay=0.1, learning_rate=0.5)
    cache = FeatureCache(tmp_path, most_bytes=0)
    groups = recipes.begin("full", encoder(), DATA, options, cache=cache).groups
    assert [group["peak"] for group in groups] == pytest.approx([0.05, 0.5])


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        ("cosine", [0.5, 1, 1, 0.75, 0.25]),
        ("linear", [0.5, 1, 1, 2 / 3, 1 / 3]),
        ("constant", [0.5, 1, 1, 1, 1]),
    ],
)
def test_the_rate_rises_and_goes_on_as_scheduled(schedule: str, shares: list[float]) -> None:
    """Two steps of five rise linearly; then the share is 1 at first, and 0 after the last one or still 1."""
    options = TrainingOptions.parse({"schedule": schedule, "warmup": 0.4}, where="fit")
    assert [rate(step, 5, options) for step in range(5)] == pytest.approx(shares)


def test_accumulated_batches_are_one_step() -> None:
    """Four batches to a step are a quarter of the steps, with the mean of their gradients."""
    events = tuned("full", accumulate=4, epochs=1, holdout=0, validation=0).events
    few = tuned("full", accumulate=1, epochs=1, holdout=0, validation=0).events
    assert len(events) == len(few)
    losses = [event["loss"] for event in (*events, *few) if event["event"] == "epoch"]
    assert losses[0] != losses[1]


class Tight(nn.Module):
    """A linear map that has memory for so many contents at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)
        self.most = most

    def forward(self, blobs: Tensor) -> Tensor:
        """Return the mapped contents, or the error of an allocator."""
        if torch.is_grad_enabled() and len(blobs) > self.most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
        return self.linear(blobs)


def test_where_memory_runs_out_pieces_become_smaller() -> None:
    """The result is that of enough memory up to rounding, and what was done is reported."""
    torch.manual_seed(0)
    roomy = Tight(10**6)
    tight = Tight(9)
    tight.load_state_dict(roomy.state_dict())
    results = [tuned("full", base=Encoder(one, EncoderSpec("own"))) for one in (roomy, tight)]
    pieces = [event["piece"] for event in results[1].events if event["event"] == "memory"]
    assert pieces
    assert 4 < pieces[-1] <= 9
    one, other = (result.encoder.embed(points(9)) for result in results)
    assert np.allclose(one, other, atol=1e-4)


def test_memory_that_does_not_suffice_for_one_is_an_error() -> None:
    """It is told with the size of the batch rather than tried for ever."""
    with pytest.raises(TrainingError, match=r"does not suffice for a batch of \d+ contents"):
        tuned("full", base=Encoder(Tight(0), EncoderSpec("own")))


class Broken(nn.Module):
    """Has a finite output and a gradient that is not: that of a square root at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, blobs: Tensor) -> Tensor:
        """Return the mapped contents."""
        return self.linear(blobs) + (0 * self.linear.weight.sum()).sqrt()


def test_a_gradient_that_is_not_finite_is_reported() -> None:
    """The loss cannot tell, and the weights would be lost with the first step."""
    with pytest.raises(DivergedError, match="the length of the gradient is nan in epoch 1"):
        tuned("full", base=Encoder(Broken(), EncoderSpec("own")))


# what match data can be like


def labelled_pairs(labels: list[float], *, same: bool = False, anchors: int = 20) -> list[Document]:
    """Return anchors with a match for each label; with ``same`` all contents are equal."""
    blobs = np.zeros((200, 6), np.float32) if same else points(200)
    return [
        Document(
            blob=blobs[at],
            matches=[
                Document(blob=blobs[(at + 1 + step) % 200], tags=labelled({}, label))
                for step, label in enumerate(labels)
            ],
        )
        for at in range(anchors)
    ]


def one_class() -> list[Document]:
    """Return anchors that are all positives of each other, with negatives that are anchors of none."""
    return labelled_pairs([1, 1, 1], anchors=60)


def many_matches() -> list[Document]:
    """Return an anchor with 10,000 matches, and a few with two."""
    blobs = np.random.default_rng(0).normal(size=(10_000, 6)).astype(np.float32)
    crowd = [Document(blob=blob, tags=labelled({}, 1 if at % 2 else -1)) for at, blob in enumerate(blobs)]
    return [Document(blob=np.ones(6, np.float32), matches=crowd), *labelled_pairs([1, -1], anchors=5)]


@pytest.mark.parametrize(
    ("recipe", "make", "options"),
    [
        ("adapter", lambda: labelled_pairs([1]), {}),
        ("full", lambda: labelled_pairs([1, -1], anchors=1), {"holdout": 0, "validation": 0}),
        ("adapter", lambda: labelled_pairs([1, -1], anchors=1), {"holdout": 0, "validation": 0}),
        ("adapter", one_class, {}),
        ("full", many_matches, {"holdout": 0, "validation": 0}),
        ("adapter", lambda: labelled_pairs([0, 5, -3.5]), {}),
        ("adapter", lambda: labelled_pairs([0, 5, -3.5]), {"loss": "cosent"}),
        ("full", lambda: labelled_pairs([0.0, 0.5, 1.0]), {"loss": "margin_mse"}),
    ],
)
def test_odd_match_data_can_be_learnt_from(recipe: str, make: Any, options: dict[str, Any]) -> None:
    """It ends in weights that are finite."""
    fitted = finetuner.fit(encoder(), make(), recipe=recipe, epochs=2, **options)
    assert np.isfinite(fitted.encoder.embed(points(5))).all()


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: labelled_pairs([-1]), "none of the 20 judgements is positive"),
        (lambda: labelled_pairs([1, -1], same=True), "none of the 0 judgements is positive"),
        (lambda: labelled_pairs([1], anchors=1), "something to tell it from"),
        (lambda: labelled_pairs([0]), "none of the 0 judgements is positive"),
    ],
    ids=["only negatives", "all contents equal", "nothing but one positive", "only zeros"],
)
def test_match_data_without_anything_to_learn_is_told(make: Any, fault: str) -> None:
    """The error says what is missing."""
    with pytest.raises(NothingToLearnError, match=fault):
        finetuner.fit(encoder(), make(), epochs=1, holdout=0, validation=0)


def test_a_dimension_that_does_not_fit_is_refused() -> None:
    """Matryoshka's dimensions are those of the embeddings that the recipe makes."""
    with pytest.raises(OptionError, match="matryoshka: 5 is no dimension"):
        tuned("full", matryoshka=[2, 5])


def test_a_base_in_the_cache_is_not_embedded_again(tmp_path: Path) -> None:
    """A second run of a frozen encoder asks its module for nothing, and ends at the same bytes."""
    calls = []
    base = build_encoder(EncoderSpec("mlp", {"in_features": 6, "hidden": 8, "dim": 4, "dropout": 0.0}))
    base.module.register_forward_hook(lambda *given: calls.append(1))
    weights = []
    for _ in range(2):
        before = len(calls)
        result = finetuner.fit(base, DATA, recipe="adapter", epochs=1, cache=tmp_path)
        weights.append(result.encoder.heads.layers[0].state_dict()["linear.weight"])
    assert before == len(calls) > 0
    assert torch.equal(*weights)
