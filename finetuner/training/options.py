"""What a training run can be told; every field has its unit, range and where its default comes from."""

from typing import Any, Literal

from pydantic import Field, root_validator

from finetuner.losses import LOSSES, Loss
from finetuner.settings import Options


class TrainingOptions(Options):
    """Options of ``finetuner.fit`` and of the ``/fit`` endpoint."""

    epochs: int = Field(
        default=20, ge=1, le=10_000, description="Passes over the anchors; measured on Fashion-MNIST."
    )
    batch_size: int = Field(
        default=64, ge=1, description="Anchors in one step; each brings its judged matches along."
    )
    matches_per_anchor: int = Field(
        default=64,
        ge=2,
        description="Judged matches one anchor brings to a step; of more, another sample each epoch.",
    )
    loss: Literal["infonce", "cosine", "triplet"] = Field(
        default="infonce", description="See finetuner.losses."
    )
    temperature: float | None = Field(
        default=None, gt=0, description="Of infonce, no unit; its default is measured."
    )
    margin: float | None = Field(default=None, gt=0, description="Of triplet, in units of squared distance.")
    in_batch_negatives: bool | None = Field(
        default=None,
        description="Whether matches of other anchors serve as negatives where nobody judged them; by default they "
        "do, but not for cosine, which would be told -1 about pairs that nobody has seen.",
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="Peak step size; by default the encoder's own."
    )
    weight_decay: float = Field(
        default=0.01, ge=0, description="Of AdamW, per step and learning rate; its usual value."
    )
    warmup: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the steps in which the rate rises linearly."
    )
    validation: float = Field(
        default=0.1, ge=0, le=0.5, description="Share of the anchors held out to choose the best epoch."
    )
    holdout: float = Field(
        default=0.1, ge=0, le=0.5, description="Share of the anchors held out to judge the result."
    )
    patience: int = Field(
        default=10, ge=1, description="Epochs without a better validation MAP before it stops early."
    )
    positive_label: float | None = Field(
        default=None, description="The label value that means positive; default: sign."
    )
    negative_label: float | None = Field(default=None, description="The label value that means negative.")
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="Decides the split, the order and all other randomness."
    )

    @root_validator(skip_on_failure=True)
    def _go_together(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values["validation"] + values["holdout"] >= 1:
            raise ValueError("validation and holdout are all anchors; leave some to learn from")
        for parameter, loss in (("temperature", "infonce"), ("margin", "triplet")):
            if values[parameter] is not None and values["loss"] != loss:
                raise ValueError(f"{parameter} belongs to loss {loss!r}, not to {values['loss']!r}")
        return values

    @property
    def uses_in_batch_negatives(self) -> bool:
        """What ``in_batch_negatives`` comes to."""
        return self.loss != "cosine" if self.in_batch_negatives is None else self.in_batch_negatives

    def make_loss(self) -> Loss:
        """Return the chosen loss with its parameters."""
        given = {"temperature": self.temperature, "margin": self.margin}
        return LOSSES[self.loss](**{name: value for name, value in given.items() if value is not None})
