"""The losses of pytorch-metric-learning that there are here, and what options may say of them."""

import importlib
import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import nn

from finetuner.errors import OptionError

PREFIX = "pml:"
"""What a name in options begins with, before the name of the class."""

OF_PAIRS = {
    "CircleLoss",
    "ContrastiveLoss",
    "GeneralizedLiftedStructureLoss",
    "IntraPairVarianceLoss",
    "LiftedStructureLoss",
    "MarginLoss",
    "MultiSimilarityLoss",
    "NTXentLoss",
    "SignalToNoiseRatioContrastiveLoss",
    "SupConLoss",
    "ThresholdConsistentMarginLoss",
    "TripletMarginLoss",
    "TupletMarginLoss",
}
"""Told which pairs are positive and which are negative, of any data."""

OF_CLASSES = {"AngularLoss", "FastAPLoss", "NCALoss", "NPairsLoss", "PNPLoss", "RankedListLoss"}
"""Told the class of each content; a batch needs two of a class."""

OF_PROXIES = {
    "ArcFaceLoss",
    "CosFaceLoss",
    "LargeMarginSoftmaxLoss",
    "NormalizedSoftmaxLoss",
    "P2SGradLoss",
    "ProxyAnchorLoss",
    "ProxyNCALoss",
    "SoftTripleLoss",
    "SphereFaceLoss",
    "SubCenterArcFaceLoss",
}
"""Told the class of each content, with parameters for each class."""

REFUSED = {
    "CrossBatchMemory": "it keeps embeddings of earlier batches, and compares them by class without regard to ids",
    "DynamicSoftMarginLoss": "it keeps a histogram of earlier batches that is not saved, so no run could be resumed",
    "HistogramLoss": "it fails where two embeddings are equal, which duplicates have",
    "InstanceLoss": "it takes the number of a class for the place of a content in the batch",
    "ManifoldLoss": "it draws classes at random, and is told nothing of matches",
    "MultipleLosses": "it takes other losses; name one",
    "SelfSupervisedLoss": "it takes another loss and makes pairs by position; name the other loss",
    "SmoothAPLoss": "it needs batches with equally many of each class, sorted by class",
    "VICRegLoss": "it makes pairs by position, and is told nothing of negatives",
}
"""What cannot work with anchors and their matches, and why."""

FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What the package raises about arguments that it does not like."""

_NOT_OPTIONS = {
    "collect_stats",  # for people who look at them in Python
    "descriptors_dim",  # filled in, as are embedding_size and num_classes
    "embedding_reg_weight",
    "embedding_regularizer",  # embeddings are of length 1
    "embedding_size",
    "mat_based_loss",  # how a loss is computed, which its class decides
    "num_classes",
    "swap",  # takes positives for anchors
    "triplets_per_anchor",  # the triplets are given
    "weight_init_func",
    "weight_reg_weight",
    "weight_regularizer",
}
_OBJECTS = {
    "distance": "distances",
    "reducer": "reducers",
}  # options that are objects: where their classes are


def make_loss(name: str, options: Mapping[str, Any], *, dim: int, groups: int | None) -> nn.Module:
    """Return a loss by the name of its class, see :class:`finetuner.losses.MetricLearning`.

    Raises:
        OptionError: If the package is not installed, there is no such loss, it cannot work with matches, it needs
            classes where there are none, or its options are not what it takes.
    """
    where = f"loss '{PREFIX}{name}'"
    if name in REFUSED:
        raise OptionError(f"{where} cannot be used: {REFUSED[name]}")
    known = OF_PAIRS | OF_CLASSES | OF_PROXIES
    if name not in known:
        raise OptionError(f"there is no {where}; after {PREFIX!r} may come {', '.join(sorted(known))}")
    kind = getattr(_package(where, "losses"), name)
    if name not in OF_PAIRS and groups is None:
        raise OptionError(
            f"{where} needs classes, and this data has none: positives would have to connect each class, and "
            f"negatives to lie between classes; for other data take a loss of pairs, such as {PREFIX}CircleLoss"
        )
    taken = _parameters(kind)
    _check(where, taken - _NOT_OPTIONS, options)
    objects = {
        option: _object(f"{where}: {option}", options[option]) for option in _OBJECTS if option in options
    }
    sizes = (
        {"num_classes": groups, "embedding_size": dim, "descriptors_dim": dim} if name in OF_PROXIES else {}
    )
    sizes = {size: number for size, number in sizes.items() if size in taken}
    return _built(where, kind, {**options, **objects, **sizes})


def _package(where: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(f"pytorch_metric_learning.{module}")
    except ImportError as error:
        install = "pip install 'finetuner[metric-learning]'"
        raise OptionError(f"{where} needs pytorch-metric-learning: {install}") from error


def _parameters(kind: type) -> set[str]:
    """Return the names of what a class takes, with what it hands on to the classes that it extends."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    extended = [one for one in kind.__mro__ if one.__module__.startswith("pytorch_metric_learning")]
    makers = [vars(one)["__init__"] for one in extended if "__init__" in vars(one)]
    found = [parameter for maker in makers for parameter in inspect.signature(maker).parameters.values()]
    return {parameter.name for parameter in found if parameter.kind in named} - {"self"}


def _check(where: str, accepted: set[str], options: Mapping[str, Any]) -> None:
    if unknown := sorted(set(options) - accepted):
        listed = ", ".join(sorted(accepted)) or "none"
        raise OptionError(f"{where}: unknown option {', '.join(map(repr, unknown))}; accepted are {listed}")


def _object(where: str, value: object) -> nn.Module:
    """Return the distance or reducer that an option describes: its name, or a mapping with it and arguments."""
    given = {"name": value} if isinstance(value, str) else dict(value) if isinstance(value, Mapping) else {}
    kinds = inspect.getmembers(_package(where, _OBJECTS[where.rsplit(": ", 1)[1]]), inspect.isclass)
    known = {
        name: kind
        for name, kind in kinds
        if not name.startswith(("Base", "Batched", "DoNothing", "Multiple"))
    }
    name = given.pop("name", None)
    if not isinstance(name, str) or name not in known:
        listed = ", ".join(sorted(known))
        raise OptionError(f"{where} is {value!r}; give a name, or a mapping with a 'name': {listed}")
    kind = known[name]
    _check(where, _parameters(kind) - _NOT_OPTIONS, given)
    return _built(where, kind, given)


def _built(where: str, kind: Any, given: Mapping[str, Any]) -> nn.Module:
    # requests bring every number as a float, also those of which the package makes sizes
    whole = {
        name: int(one) if isinstance(one, float) and one.is_integer() else one for name, one in given.items()
    }
    try:
        built: nn.Module = kind(**whole)
    except FAULTS as error:
        raise OptionError(f"{where} cannot be made of {dict(given)}: {error}") from error
    return built
