"""LoRA: where it starts, what it adds, and that merging changes nothing but the weights."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from finetuner.errors import OptionError
from finetuner.models import Encoder, EncoderSpec, build_encoder
from finetuner.models.low_rank import LowRank, LowRankLayers
from tests.two_classes import encoder, points

IMAGES = np.random.default_rng(0).random((3, 12, 12)).astype(np.float32)


def moved(made: Encoder, targets: tuple[str, ...] = ()) -> LowRankLayers:
    """Return small matrices beside the layers of an encoder, trained a little."""
    added = LowRankLayers(made.module, rank=2, alpha=4, targets=targets)
    for one in added.values():
        assert isinstance(one, LowRank)
        torch.nn.init.normal_(one.up.weight, std=0.3)
    return added


def test_it_starts_at_the_base() -> None:
    """Before a step the encoder embeds to the same bits as without."""
    made = encoder()
    LowRankLayers(made.module, rank=2, alpha=4)
    assert np.array_equal(made.embed(points(5)), encoder().embed(points(5)))


def test_what_is_added_is_alpha_over_rank_times_the_product() -> None:
    """With A = (1, 2), B = (3, 4)^T and alpha / rank = 2 the input (1, 1) gives 2 * 3 * (3, 4)."""
    added = LowRank(nn.Linear(2, 2), rank=1, alpha=2)
    with torch.no_grad():
        added.down.weight.copy_(torch.tensor([[1.0, 2.0]]))
        added.up.weight.copy_(torch.tensor([[3.0], [4.0]]))
    assert added(torch.ones(1, 2)).tolist() == [[18.0, 24.0]]
    assert added.weight().tolist() == [[6.0, 12.0], [8.0, 16.0]]


@pytest.mark.parametrize(("name", "contents"), [("mlp", points(5)), ("cnn", IMAGES)])
def test_merged_into_the_weights_it_does_the_same(name: str, contents: np.ndarray) -> None:
    """Linear layers and convolutions embed alike before and after, and nothing is left beside them."""
    made = build_encoder(EncoderSpec(name, {"in_features": 6} if name == "mlp" else {}))
    before = made.embed(contents)
    added = moved(made)
    during = made.embed(contents)
    added.merge()
    assert not np.allclose(during, before, atol=1e-3)
    assert np.allclose(made.embed(contents), during, atol=1e-6)


def test_the_weights_beside_it_are_frozen() -> None:
    """None of the module's own parameters has a gradient, the small matrices have."""
    made = encoder()
    added = moved(made)
    made(made.prepare(points(5))).sum().backward()
    assert all(parameter.grad is None for parameter in made.parameters())
    assert all(parameter.grad is not None for parameter in added.parameters())


def test_layers_can_be_named() -> None:
    """Only those that match get matrices."""
    assert list(moved(encoder(), ("2",))) == ["2"]


def test_a_name_without_a_layer_is_refused() -> None:
    """The message tells the layers that there are."""
    with pytest.raises(OptionError, match=r"'9' names no linear layer or convolution; there are 2, 4"):
        moved(encoder(), ("9",))


def test_a_module_without_such_layers_is_refused() -> None:
    """There is nothing that a small matrix could stand beside."""
    with pytest.raises(OptionError, match="no linear layer or convolution"):
        LowRankLayers(nn.Sequential(nn.Flatten()), rank=1, alpha=1)


class Around(nn.Module):
    """Uses the weights of a layer without calling it, as some networks do, and calls another one."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(6, 6)
        self.called = nn.Linear(6, 4)

    def forward(self, given: Tensor) -> Tensor:
        """Return a linear map of a linear map."""
        return self.called(nn.functional.linear(given, self.hidden.weight))


@pytest.mark.parametrize(("targets", "fails"), [((), False), (("called",), False), (("hidden",), True)])
def test_a_named_layer_that_is_not_called_is_told(targets: tuple[str, ...], fails: bool) -> None:
    """What was named but can have no effect is an error; one of all that happens not to be called is not."""
    made = Encoder(Around(), EncoderSpec("own"))
    added = moved(made, targets)
    if fails:
        with pytest.raises(OptionError, match="does not call hidden as layers"):
            added.check_used()
        return
    made(made.prepare(points(5))).sum().backward()
    added.check_used()
