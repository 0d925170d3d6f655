"""Request parameters, as Jina hands them over."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from jina import Executor

from finetuner.errors import OptionError
from finetuner.settings import Options

OptionsT = TypeVar("OptionsT", bound=Options)

_JINAS_OWN = "__results__"  # jina puts its own answers of earlier Executors beside the client's parameters


def given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the client sent."""
    return {name: value for name, value in parameters.items() if name != _JINAS_OWN}


def parse(options: type[OptionsT], parameters: Mapping[str, Any], *, where: str) -> OptionsT:
    """Return the client's parameters as options, or raise OptionError with every fault."""
    return options.parse(given(parameters), where=where)


def refuse_unknown(executor: Executor, arguments: Iterable[str]) -> None:
    """Raise OptionError if an Executor was given an argument that is neither its own nor jina's."""
    jinas, ours = (set(inspect.signature(one.__init__).parameters) for one in (Executor, type(executor)))
    unknown = sorted(set(arguments) - jinas)
    if unknown:
        accepted = ", ".join(sorted(ours - jinas - {"self", "kwargs"}))
        raise OptionError(
            f"{type(executor).__name__}: unknown argument {unknown[0]!r}; accepted are {accepted}"
        )
