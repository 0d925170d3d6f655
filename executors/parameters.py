"""Request parameters, as Jina hands them over."""

from collections.abc import Mapping
from typing import Any, TypeVar

from finetuner.settings import Options

OptionsT = TypeVar("OptionsT", bound=Options)

_JINAS_OWN = "__results__"  # jina puts its own answers of earlier Executors beside the client's parameters


def given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the client sent."""
    return {name: value for name, value in parameters.items() if name != _JINAS_OWN}


def parse(options: type[OptionsT], parameters: Mapping[str, Any], *, where: str) -> OptionsT:
    """Return the client's parameters as options, or raise OptionError with every fault."""
    return options.parse(given(parameters), where=where)
