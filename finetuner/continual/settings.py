"""What the operator says about runs that start by themselves."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, root_validator, validator

from finetuner.continual.options import ContinualOptions
from finetuner.errors import OptionError
from finetuner.settings import Options
from finetuner.training.run_options import RunOptions

_DECIDED = {
    "parent": "active",
    "since": "active",
}
"""Options of ``/fit`` that are not for the operator to give, and what such a run has instead."""


class AutomaticFit(RunOptions, ContinualOptions):
    """Parameters of ``/fit`` that an automatic run may be given: how to train, promote, guards, replay."""

    parent: str = "active"


class AutomaticRuns(Options):
    """Setting ``tune``: when a run starts by itself, and how it trains."""

    collection: str = Field(
        regex=r"^[A-Za-z0-9_.-]{1,48}$",
        description="Of the data Executor; its name is part of the run's, so it has 48 characters at most.",
    )
    min_new_judgements: int | None = Field(
        default=None, ge=1, description="A run starts when so many have come since the last one."
    )
    every_hours: float | None = Field(
        default=None,
        gt=0,
        description="A run starts when the last one started so long ago and something is new.",
    )
    poll_seconds: float = Field(
        default=60, gt=0, description="Pause after which the data Executor is asked again."
    )
    options: AutomaticFit = Field(
        default_factory=AutomaticFit, description="Parameters of /fit but run, collection, parent and since."
    )

    @validator("options", pre=True)
    def _check_options(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            raise ValueError("give a mapping of parameters of /fit")
        if decided := sorted(_DECIDED.keys() & given.keys()):
            raise ValueError(f"{decided[0]} is {_DECIDED[decided[0]]!r} for runs that start by themselves")
        try:
            return AutomaticFit.parse(given, where="in options")
        except OptionError as error:
            raise ValueError(str(error)) from error

    @root_validator(skip_on_failure=True)
    def _need_an_occasion(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values["min_new_judgements"] is None and values["every_hours"] is None:
            raise ValueError("give min_new_judgements, every_hours or both, or no run would ever start")
        return values
