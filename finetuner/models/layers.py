"""The parameters of a module by layer: which are frozen, and how far each layer moves."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from finetuner.errors import OptionError

_UP_TO_A_NUMBER = re.compile(r"(?:.*\.)?\d+(?=\.)")


def freeze(module: nn.Module, names: Sequence[str]) -> None:
    """Make the named parameters of a module constants.

    Args:
        module: The module.
        names: Names of parameters or of modules, with ``*`` for anything, such as ``model.0.auto_model.embeddings``
            or ``*.bias``; a module stands for all below it.

    Raises:
        OptionError: If a name names nothing, or nothing is left to train.
    """
    parameters = dict(module.named_parameters())
    for name in names:
        found = [one for one in parameters if fnmatchcase(one, name) or fnmatchcase(one, f"{name}.*")]
        if not found:
            raise OptionError(
                f"freeze: {name!r} names no parameter; the layers are {', '.join(layers(module))}"
            )
        for one in found:
            parameters[one].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise OptionError(f"freeze: {', '.join(names)} is all there is; leave something to train")


def train_what_moves(module: nn.Module) -> None:
    """Put a module into training mode, but not those parts of it of which all parameters are frozen.

    A frozen layer keeps its statistics and drops nothing: it is a constant in what it does, too.
    """
    module.train()
    for part in module.modules():
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            part.eval()


def layers(module: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the parameters by layer, from the input on.

    A layer's name is that of its parameters up to the last number in it, and to the first dot where there is no number.
    So the blocks of a transformer and the steps of an ``nn.Sequential`` are layers. Their order is that in which the
    module declares them.
    """
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        number = _UP_TO_A_NUMBER.match(name)
        found.setdefault(number.group() if number else name.partition(".")[0], []).append(parameter)
    return found
