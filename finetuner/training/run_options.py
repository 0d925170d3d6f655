"""What a run can be told: how to train, and what becomes of the result."""

from typing import Any

from pydantic import Field, root_validator

from finetuner.lifecycle import Policy
from finetuner.lifecycle.gate import GUARD_MARGIN
from finetuner.training.options import TrainingOptions

_OF_THE_RUN = {"parent", "promote", "min_gain", "guard_margin", "max_seconds"}


class RunOptions(TrainingOptions):
    """Options of a run of the service: the training's, and what becomes of its result."""

    parent: str = Field(default="base", description="Version to start from: a name, or base, or active.")
    promote: Policy = Field(
        default="if_better", description="When the result becomes active: if_better, always or never."
    )
    min_gain: float = Field(
        default=0,
        ge=0,
        lt=1,
        description="How much better than the active version a result has to be for if_better, in the primary metric: the "
        "whole interval lies above.",
    )
    guard_margin: float = Field(
        default=GUARD_MARGIN,
        ge=0,
        lt=1,
        description="How much worse on a guard collection its mean may be for if_better; a guess at what nobody notices.",
    )
    max_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Time that the training process may take, its start included; then the run fails. /resume gives "
        "it the same time again.",
    )

    @root_validator(skip_on_failure=True)
    def _gate_asks(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name in ("min_gain", "guard_margin"):
            if values["promote"] != "if_better" and values[name] != cls.__fields__[name].default:
                raise ValueError(f"{name} goes with promote=if_better, not with {values['promote']}")
        return values

    def as_task(self) -> dict[str, Any]:
        """Return them as part of a run's task: the training's options by themselves."""
        own = {name: getattr(self, name) for name in sorted(_OF_THE_RUN)}
        return {"options": self.dict(exclude=_OF_THE_RUN), **own}
