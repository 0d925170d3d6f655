"""Recipes: which weights of an encoder are trained, and how far each of them moves."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from finetuner.features import FeatureCache, FeatureRows
from finetuner.matches import MatchSet
from finetuner.models import Encoder, HeadSpec
from finetuner.models.layers import freeze, layers
from finetuner.models.low_rank import LowRankLayers
from finetuner.processor import multiplies_bfloat16
from finetuner.training.options import Recipe, TrainingOptions
from finetuner.training.vectors import CachedVectors, LiveVectors, Vectors

FEW = 2_000
"""Positive judgements below which ``auto`` adapts a pretrained encoder instead of changing it; a guess: on the 150 of Covid
QA an adapter gains, and no data between was tried."""

RATES = {"adapter": 3e-3, "head": 3e-3}
"""Peak learning rates of what is new. The adapter's is the best of three on Covid QA; the head's is the same, untried. Others
are the encoder's own."""

LORA_RATE = 10
"""How much larger the learning rate of LoRA is than that of all weights: its usual size."""


class Chosen(NamedTuple):
    """A recipe, and why it was taken."""

    recipe: Recipe
    reason: str


@dataclass
class Trainee:
    """What is trained of an encoder.

    Attributes:
        encoder: The whole of it.
        vectors: Where the vectors of a batch come from.
        groups: Parameters with their peak learning rate ``peak``, as an optimiser takes them.
        moving: All tensors that training changes, by name: parameters, and statistics such as those of batch
            normalisation.
        finish: To be called at the end: leaves an encoder without scaffolding.
        check: To be called after the first gradients: raises if something gets none.
    """

    encoder: Encoder
    vectors: Vectors
    groups: list[dict[str, Any]]
    moving: dict[str, Tensor]
    finish: Callable[[], None] = field(default=lambda: None)
    check: Callable[[], None] = field(default=lambda: None)


def choose(encoder: Encoder, matches: MatchSet, options: TrainingOptions) -> Chosen:
    """Return the recipe that the options name, or for ``auto`` the one that suits encoder and data."""
    if options.recipe != "auto":
        return Chosen(options.recipe, "as asked for")
    if not encoder.is_pretrained:
        return Chosen("full", "the encoder has learnt from nothing else, so all of its weights may move")
    positives = int((matches.labels > 0).sum())
    if positives < FEW:
        return Chosen("adapter", f"{positives} positive judgements are fewer than {FEW}")
    return Chosen("lora", f"{positives} positive judgements are {FEW} or more")


def begin(
    recipe: Recipe,
    encoder: Encoder,
    matches: MatchSet,
    options: TrainingOptions,
    *,
    cache: FeatureCache,
) -> Trainee:
    """Make ready what a recipe trains of an encoder.

    Raises:
        OptionError: If an option does not fit the encoder.
    """
    encoder.requires_grad_(False)
    if recipe in ("adapter", "head"):
        return _behind(recipe, encoder, matches, options, cache)
    if recipe == "lora":
        return _beside(encoder, matches, options)
    return _within(encoder, matches, options)


def _behind(
    recipe: Recipe, encoder: Encoder, matches: MatchSet, options: TrainingOptions, cache: FeatureCache
) -> Trainee:
    """Train a head on what the frozen module makes of each content, which is computed once."""
    features = cached(encoder, matches, cache)
    width = encoder.heads.specs[-1].dim if encoder.heads.specs else features.shape[1]
    if recipe == "adapter":
        spec = HeadSpec("adapter", width, width, queries_only=options.queries_only)
    else:
        spec = HeadSpec("projection", width, options.head_dim or width, hidden=options.head_hidden)
    if spec not in encoder.heads.specs[-1:]:  # else what is there learns on
        encoder.heads.append(spec)
    head = encoder.heads.layers[-1].to(encoder.device).requires_grad_()
    group = {"params": list(head.parameters()), "peak": options.learning_rate or RATES[recipe]}
    return Trainee(encoder, CachedVectors(encoder, features), [group], dict(head.named_parameters()))


def cached(encoder: Encoder, matches: MatchSet, cache: FeatureCache) -> FeatureRows:
    """Return what the module of an encoder makes of each content, from the cache where it is there."""
    return cache.features(
        encoder.fingerprint(), matches.contents, matches.hashes, lambda part: encoder.embed_vectors(part)
    )


def _beside(encoder: Encoder, matches: MatchSet, options: TrainingOptions) -> Trainee:
    """Train small matrices beside the weights of layers, and add them to the weights in the end.

    The module itself is frozen: it drops nothing, and its statistics stay.
    """
    added = LowRankLayers(
        encoder.module, rank=options.lora_rank, alpha=options.lora_alpha, targets=options.lora_layers
    )
    peak = options.learning_rate or LORA_RATE * encoder.learning_rate
    groups = [{"params": list(added.parameters()), "peak": peak}]
    return Trainee(
        encoder,
        _live(encoder, matches, options),
        groups,
        dict(added.named_parameters()),
        finish=added.merge,
        check=added.check_used,
    )


def _within(encoder: Encoder, matches: MatchSet, options: TrainingOptions) -> Trainee:
    """Train all weights but those that are frozen by name."""
    encoder.requires_grad_()
    freeze(encoder.module, options.freeze)
    peak = options.learning_rate or encoder.learning_rate
    by_layer = list(layers(encoder.module).values())
    groups = [
        {"params": free, "peak": peak * options.layer_decay ** (len(by_layer) - 1 - depth)}
        for depth, parameters in enumerate(by_layer)
        if (free := [one for one in parameters if one.requires_grad])
    ]
    if len(encoder.heads.layers):
        groups.append({"params": list(encoder.heads.parameters()), "peak": peak})
    moving = {name: one for name, one in encoder.named_parameters() if one.requires_grad}
    statistics = dict(encoder.named_buffers())
    return Trainee(encoder, _live(encoder, matches, options), groups, {**moving, **statistics})


def _live(encoder: Encoder, matches: MatchSet, options: TrainingOptions) -> LiveVectors:
    bfloat16 = options.precision == "bfloat16" or (
        options.precision == "auto" and _gains_by_bfloat16(encoder)
    )
    return LiveVectors(encoder, matches, piece=options.piece, bfloat16=bfloat16)


def _gains_by_bfloat16(encoder: Encoder) -> bool:
    """Return whether the device multiplies bfloat16 in hardware, and the matrices are large enough to gain by it."""
    if not encoder.is_pretrained:
        return False
    return torch.cuda.is_bf16_supported() if encoder.device.type == "cuda" else multiplies_bfloat16()
