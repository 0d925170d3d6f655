"""LoRA: small matrices beside the weights of linear and convolutional layers, trained instead of them."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from finetuner.errors import OptionError


class LowRank(nn.Module):
    """Adds (alpha / rank) * up(down(x)) to what a layer makes of x, with up zero at first.

    W + (alpha / rank) * B A as in section 4.1 of Hu et al. 2021 (arXiv 2106.09685), A drawn as torch draws a linear
    layer. For a convolution A is one of the same kernel, stride and padding, and B one of 1 x 1.

    Args:
        layer: A linear layer, or a convolution without groups.
        rank: Width of what lies between.
        alpha: The scale, times the rank.
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.down: nn.Linear | nn.Conv2d
        self.up: nn.Linear | nn.Conv2d
        if isinstance(layer, nn.Linear):
            self.down = nn.Linear(layer.in_features, rank, bias=False)
            self.up = nn.Linear(rank, layer.out_features, bias=False)
        else:
            shape = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
            self.down = nn.Conv2d(layer.in_channels, rank, *shape, bias=False)  # type: ignore[arg-type]  # torch's own
            self.up = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        nn.init.zeros_(self.up.weight)
        self.to(layer.weight.device)

    def forward(self, values: Tensor) -> Tensor:
        """Return what is added to the layer's own output."""
        added: Tensor = self.up(self.down(values)) * self.scale
        return added

    def weight(self) -> Tensor:
        """Return what would have to be added to the layer's weight for the same effect."""
        up, down = self.up.weight.flatten(1), self.down.weight.flatten(1)
        return self.scale * (up @ down).reshape(-1, *self.down.weight.shape[1:])


class LowRankLayers(nn.ModuleDict):
    """A :class:`LowRank` beside each chosen layer of a module, whose own weights are frozen.

    Args:
        module: The module; it stays as it is, but for the hooks that add to its layers' output.
        rank: Width of the small matrices, at least 1.
        alpha: Their scale, times the rank.
        targets: Names of layers, with ``*`` for anything; empty for all that are linear or convolutions.

    Raises:
        OptionError: If a target names no such layer, or there is none.
    """

    def __init__(self, module: nn.Module, *, rank: int, alpha: float, targets: Sequence[str] = ()) -> None:
        super().__init__()
        module.requires_grad_(False)
        self._named = bool(targets)
        self._beside: list[nn.Linear | nn.Conv2d] = []
        self._hooks = []
        for name, layer in _chosen(module, targets).items():
            added = LowRank(layer, rank=rank, alpha=alpha)
            self[name.replace(".", "/")] = added  # a dot is not allowed in a name
            self._beside.append(layer)
            self._hooks.append(layer.register_forward_hook(_adding(added)))

    def check_used(self) -> None:
        """Raise OptionError if a named layer, or none at all, got a gradient: its module does not call it as a layer."""
        idle = [name for name, added in self.items() if next(added.parameters()).grad is None]
        if idle and (self._named or len(idle) == len(self)):
            listed = ", ".join(name.replace("/", ".") for name in idle)
            raise OptionError(
                f"recipe 'lora': the encoder does not call {listed} as layers, so nothing can be added to what they "
                "make; name others in lora_layers, or use another recipe"
            )

    @torch.no_grad()
    def merge(self) -> None:
        """Add the small matrices to the weights beside which they stand, and take them away."""
        for layer, added in zip(self._beside, self.values(), strict=True):
            assert isinstance(added, LowRank)
            layer.weight += added.weight()
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()


Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]


def _adding(added: LowRank) -> Hook:
    def hook(layer: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> Tensor:
        whole: Tensor = made + added(given[0])
        return whole

    return hook


def _chosen(module: nn.Module, targets: Sequence[str]) -> dict[str, nn.Linear | nn.Conv2d]:
    fit = {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)
    }
    for target in targets:
        if not any(fnmatchcase(name, target) for name in fit):
            raise OptionError(
                f"lora_layers: {target!r} names no linear layer or convolution; there are {', '.join(fit) or 'none'}"
            )
    chosen = {n: one for n, one in fit.items() if not targets or any(fnmatchcase(n, t) for t in targets)}
    if not chosen:
        raise OptionError("recipe 'lora': the encoder has no linear layer or convolution; use another recipe")
    return chosen
