"""Interrupted and resumed, a training ends with the same bytes as if it had never been interrupted."""

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from finetuner.features import FeatureCache
from finetuner.matches import MatchSet
from finetuner.models import EncoderSpec, build_encoder
from finetuner.training.fit import tune
from finetuner.training.options import TrainingOptions
from finetuner.training.state import Place
from finetuner.training.watch import Watch
from tests.two_classes import match_documents

DATA = MatchSet.from_documents(match_documents(60))

RECIPES: dict[str, dict[str, Any]] = {
    "full": {"recipe": "full"},
    "adapter": {"recipe": "adapter"},
    "adapter of queries": {"recipe": "adapter", "queries_only": True},
    "head": {"recipe": "head", "head_dim": 3, "head_hidden": 5},
    "lora": {"recipe": "lora", "lora_rank": 2},
    "average": {"recipe": "full", "ema": 0.8, "accumulate": 2, "clip": 1},
    "pieces": {"recipe": "full", "piece": 7},
    "mining": {"hard_negatives": 2, "mine_every": 2, "in_batch_guard": 0.9},
    "classes": {"sampling": "classes"},
    "proxies": {"loss": "pml:ProxyAnchorLoss"},
    "backward": {"recipe": "head", "backward": 0.5},
}


class KilledError(BaseException):
    """What a test interrupts a training with."""


def weights_after(folder: Path, options: dict[str, Any], *, seed: int = 0) -> str:
    """Train with the state in a folder, from where it is; return the SHA-256 of the weight files."""
    folder.mkdir(exist_ok=True)
    spec = EncoderSpec("mlp", {"in_features": 6, "hidden": 8, "dim": 4, "dropout": 0.3})
    tuned = tune(
        build_encoder(spec),
        DATA,
        # validation: enough anchors for a share of the line to be chosen
        TrainingOptions(epochs=3, batch_size=16, save_seconds=0, validation=0.2, seed=seed, **options),
        guards={},
        rivals={},
        state=folder / "state.safetensors",
        cache=FeatureCache(folder / "features", most_bytes=10**7),
        report=lambda event, figures: None,
    )
    tuned.encoder.save(folder / "weights")
    files = sorted((folder / "weights").glob("*.safetensors"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@pytest.mark.parametrize("options", RECIPES.values(), ids=RECIPES)
def test_killed_and_resumed_it_writes_the_same_bytes(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after each of some steps, drawn at random, and resumed each time, every recipe ends at the same weights."""
    expected = weights_after(tmp_path / "whole", options)
    draws = random.Random(1)
    step = Watch.step

    def perhaps_killed(watch: Watch, place: Place) -> None:
        step(watch, place)
        if draws.random() < 0.3:
            raise KilledError

    monkeypatch.setattr(Watch, "step", perhaps_killed)
    kills = 0
    while True:
        torch.manual_seed(kills)  # the caller's random numbers play no part
        try:
            found = weights_after(tmp_path / "killed", options)
        except KilledError:
            kills += 1
        else:
            break
    assert kills >= 2
    assert found == expected


@pytest.mark.parametrize("name", ["full", "head"])
def test_another_seed_gives_other_bytes(name: str, tmp_path: Path) -> None:
    """It decides split, order, new heads and dropout."""
    first, other = (weights_after(tmp_path / str(seed), RECIPES[name], seed=seed) for seed in (0, 1))
    assert first != other
