"""What the service can be told: how to train and what becomes of the result, and how to judge."""

from typing import Any

from pydantic import Field

from finetuner.lifecycle import Policy
from finetuner.settings import Options
from finetuner.training.options import TrainingOptions

_OF_THE_RUN = {"parent", "promote", "max_seconds"}


class RunOptions(TrainingOptions):
    """Options of a run of the service: the training's, and what becomes of its result."""

    parent: str = Field(default="base", description="Version to start from: a name, or base, or active.")
    promote: Policy = Field(
        default="if_better", description="When the result becomes active: if_better, always or never."
    )
    max_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Time that the training process may take, its start included; then the run fails. /resume gives "
        "it the same time again.",
    )

    def as_task(self) -> dict[str, Any]:
        """Return them as part of a run's task: the training's options by themselves."""
        own = {name: getattr(self, name) for name in sorted(_OF_THE_RUN)}
        return {"options": self.dict(exclude=_OF_THE_RUN), **own}


class JudgeOptions(Options):
    """What is judged, and what the labels mean."""

    version: str = Field(default="active", description="A version's name, or base, or active.")
    positive_label: float | None = Field(
        default=None, description="The label value that means positive; default: sign."
    )
    negative_label: float | None = Field(default=None, description="The label value that means negative.")
