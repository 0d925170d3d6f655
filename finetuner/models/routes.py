"""Folders of sentence-transformers whose queries go another way than documents: that way as a head, where it is one."""

from collections.abc import Sequence
from typing import Any

from torch import nn


def take_query_maps(model: Any) -> list[nn.Linear]:
    """Take away the Router at the end of a model, and return the maps that its queries went through.

    An exported encoder with heads for queries alone has such a Router: queries go through square linear maps of vectors of
    length 1, documents through nothing. Each map W x + b is then an adapter with A = W - 1.

    Args:
        model: A ``SentenceTransformer``; untyped.

    Returns:
        The maps, none if the model has no Router.

    Raises:
        ValueError: If it has another Router: an encoder has one module for both sides.
    """
    from sentence_transformers.sentence_transformer.modules import Normalize, Router

    routers = [name for name, module in model.named_children() if isinstance(module, Router)]
    if not routers:
        return []
    *before, last = model
    if (
        len(routers) == 1
        and isinstance(last, Router)
        and before
        and set(last.sub_modules) == {"query", "document"}
    ):
        maps = _maps(last.sub_modules["query"], of_length_1=isinstance(before[-1], Normalize))
        if maps is not None and all(isinstance(one, Normalize) for one in last.sub_modules["document"]):
            delattr(model, routers[0])
            return maps
    raise ValueError(
        "it has a Router, so that queries or other contents go a way of their own, and an encoder has one for all; "
        "accepted is a Router at the end whose queries go through square linear maps alone"
    )


def _maps(modules: Sequence[nn.Module], *, of_length_1: bool) -> list[nn.Linear] | None:
    """Return the linear maps of a route, None if there is anything else, or they shift vectors of another length than 1."""
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    maps = []
    for module in modules:
        if isinstance(module, Dense) and _is_map(module) and (of_length_1 or not module.linear.bias.any()):
            maps.append(module.linear)
        elif not isinstance(module, Normalize):
            return None
        of_length_1 = isinstance(module, Normalize)
    return maps


def _is_map(dense: Any) -> bool:
    names = {dense.module_input_name, dense.module_output_name}
    return (
        dense.in_features == dense.out_features
        and dense.bias
        and not dense.use_residual
        and isinstance(dense.activation_function, nn.Identity)
        and names == {"sentence_embedding"}
    )
