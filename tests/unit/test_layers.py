"""Layers by name: what is frozen stays, in its weights and in what it does."""

import numpy as np
import pytest
import torch
from torch import nn

from finetuner.errors import OptionError
from finetuner.models import EncoderSpec, build_encoder
from finetuner.models.layers import freeze, layers, train_what_moves


def network() -> nn.Module:
    """Return a small convolutional network."""
    return build_encoder(EncoderSpec("cnn")).module


@pytest.mark.parametrize(
    ("names", "left"),
    [
        (["1"], {"2", "5", "6", "11"}),
        (["1", "2.*", "5.weight"], {"5", "6", "11"}),
        (["?"], {"11"}),
    ],
)
def test_names_stand_for_parameters_and_for_all_below(names: list[str], left: set[str]) -> None:
    """A module's name freezes what is in it, a pattern all that it fits, a parameter's name itself alone."""
    module = network()
    freeze(module, names)
    assert {n.split(".")[0] for n, one in module.named_parameters() if one.requires_grad} == left


@pytest.mark.parametrize(
    ("names", "fault"), [(["3"], "'3' names no parameter; the layers are 1, 2"), (["*"], "all there is")]
)
def test_a_name_that_freezes_nothing_or_everything_is_refused(names: list[str], fault: str) -> None:
    """Neither is what somebody can have meant."""
    with pytest.raises(OptionError, match=fault):
        freeze(network(), names)


def test_a_frozen_layer_keeps_its_statistics() -> None:
    """The running mean of a frozen batch normalisation stays, that of one which learns moves on."""
    module = network()
    freeze(module, ["2"])
    frozen, free = (module.get_submodule(name) for name in ("2", "6"))
    train_what_moves(module)
    before = [one.running_mean.clone() for one in (frozen, free)]  # type: ignore[operator]
    module(torch.randn(8, 28, 28))
    assert torch.equal(frozen.running_mean, before[0])  # type: ignore[arg-type]
    assert not torch.equal(free.running_mean, before[1])  # type: ignore[arg-type]


def test_layers_come_in_the_order_of_the_network() -> None:
    """Names are cut at their last number, or at the first dot where there is none."""
    assert list(layers(network())) == ["1", "2", "5", "6", "11"]
    assert list(layers(build_encoder(EncoderSpec("bilstm")).module)) == ["tokens", "lstm", "project"]


def test_the_blocks_of_a_transformer_are_layers() -> None:
    """Nested names with several numbers are cut at the last one, embeddings stay one layer."""
    block = nn.Sequential(nn.Linear(2, 2))
    module = nn.ModuleDict({"embed": nn.Embedding(3, 2), "block": nn.ModuleList([block, block])})
    nested = nn.ModuleList([module])
    assert list(layers(nested)) == ["0", "0.block.0.0"]


def test_every_parameter_is_in_one_layer() -> None:
    """None is forgotten and none is there twice."""
    module = network()
    listed = [id(one) for parameters in layers(module).values() for one in parameters]
    assert np.array_equal(sorted(listed), sorted(id(one) for one in module.parameters()))
