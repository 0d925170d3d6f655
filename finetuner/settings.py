"""Options from the outside, checked once and all at once.

Operators give options in YAML, clients in request parameters; both end in a subclass of :class:`Options`. Jina
sends every number of a request's parameters as a float, so ``10.0`` is a whole number here and ``10.5`` is not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, BaseSettings, Extra, Field, ValidationError, validator
from pydantic.env_settings import SettingsError
from pydantic.env_settings import SettingsSourceCallable as Source
from pydantic.fields import ModelField

from finetuner.errors import OptionError


def _keep_whole(value: Any, field: ModelField) -> Any:
    # pydantic 1 would cut 10.5 down to 10, and take True for 1
    wanted = isinstance(field.type_, type) and issubclass(field.type_, int) and field.type_ is not bool
    whole = not isinstance(value, bool | float) or (isinstance(value, float) and value.is_integer())
    if wanted and not whole:
        raise ValueError(f"{value!r} is not a whole number")
    if field.type_ is str and isinstance(value, float) and whole:
        return str(int(value))  # a name that is a number, such as run=7
    return value


class Options(BaseModel):
    """Base of all option groups: immutable, no unknown names, whole numbers stay whole."""

    class Config:
        extra = "forbid"
        allow_mutation = False

    _keep_whole_numbers_whole = validator("*", pre=True, allow_reuse=True)(_keep_whole)

    @classmethod
    def parse(cls, given: Mapping[str, Any], *, where: str) -> Self:
        """Return the options, or raise one error that lists every fault.

        Args:
            given: Names and values, as they came.
            where: What the caller would call the place, e.g. ``/fit``; the message starts with it.

        Raises:
            OptionError: If a name is unknown, or a value has the wrong type or is out of range.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            raise OptionError(f"{where}: {cls._faults(error, given)}") from error

    @classmethod
    def _faults(cls, error: ValidationError, given: Mapping[str, Any]) -> str:
        faults = []
        for fault in error.errors():
            name = str(fault["loc"][0])
            if name == "__root__":  # options that do not go together
                faults.append(fault["msg"])
            elif fault["type"] == "value_error.extra":
                known = ", ".join(sorted(cls.__fields__)) or "none"
                faults.append(f"unknown option {name!r}; accepted are {known}")
            elif name not in given:
                faults.append(f"option {name!r} is missing")
            else:
                faults.append(f"option {name!r} is {given[name]!r}: {fault['msg']}")
        return "; ".join(faults)


class OperatorSettings(BaseSettings):
    """Base of what the operator decides: by arguments in YAML, or in the environment as ``FINETUNER_<NAME>``."""

    workspace: Path | None = Field(
        default=None, description="Where everything is kept; by default Jina's workspace."
    )

    class Config:
        env_prefix = "finetuner_"
        extra = Extra.forbid

        @classmethod
        def customise_sources(
            cls, init_settings: Source, env_settings: Source, file_secret_settings: Source
        ) -> tuple[Source, ...]:
            """Let a mapping in the arguments replace the environment's; pydantic would merge the two."""
            return (lambda settings: {**env_settings(settings), **init_settings(settings)},)

    _keep_whole_numbers_whole = validator("*", pre=True, allow_reuse=True)(_keep_whole)

    @classmethod
    def from_operator(cls, **arguments: Any) -> Self:
        """Return the settings; an argument that is None is looked up in the environment, then has its default.

        Raises:
            OptionError: If a value has the wrong type or is out of range.
        """
        try:
            return cls(**{name: value for name, value in arguments.items() if value is not None})
        except ValidationError as error:
            faults = (
                f"{fault['loc'][0]} (FINETUNER_{str(fault['loc'][0]).upper()}): {fault['msg']}"
                for fault in error.errors()
            )
            raise OptionError("settings: " + "; ".join(faults)) from error
        except SettingsError as error:  # a list or mapping in the environment that is no JSON
            raise OptionError(f"settings: {error}") from error
