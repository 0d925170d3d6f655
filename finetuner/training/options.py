"""What a training run can be told; every field has its unit, range and where its default comes from."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field, root_validator, validator

from finetuner.errors import OptionError
from finetuner.evaluation import METRICS
from finetuner.losses import Objective, make_objective
from finetuner.settings import Options

Recipe = Literal["adapter", "head", "lora", "full"]


class TrainingOptions(Options):
    """Options of ``finetuner.fit`` and of the ``/fit`` endpoint."""

    recipe: Literal["auto", "adapter", "head", "lora", "full"] = Field(
        default="auto",
        description="What is trained: adapter, a linear map added behind the frozen encoder; head, a projection behind "
        "it; lora, small matrices beside its layers; full, all weights. auto goes by encoder and amount of data.",
    )
    queries_only: bool = Field(
        default=False,
        description="Of adapter: adapt queries alone, so that embeddings of documents stay as they are.",
    )
    head_dim: int | None = Field(
        default=None, ge=1, description="Of head: numbers in an embedding; by default as before."
    )
    head_hidden: int = Field(default=0, ge=0, description="Of head: width of a layer in between; 0 for none.")
    lora_rank: int = Field(
        default=8, ge=1, description="Of lora: width of the small matrices; 8 as in its paper's GPT-2 runs."
    )
    lora_alpha: float = Field(
        default=16, gt=0, description="Of lora: their scale times the rank; twice the rank."
    )
    lora_layers: list[str] = Field(
        default=[],
        description="Of lora: names of layers, * for anything; by default all linear and convolutional.",
    )
    freeze: list[str] = Field(
        default=[],
        description="Of full: names of parameters or modules that stay as they are, * for anything.",
    )
    layer_decay: float = Field(
        default=1, gt=0, le=1, description="Of full: learning rate of a layer / that of the next one."
    )
    epochs: int = Field(
        default=20, ge=1, le=10_000, description="Passes over the anchors; measured on Fashion-MNIST."
    )
    batch_size: int = Field(
        default=64, ge=1, description="Anchors in one batch; each brings its judged matches along."
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        description="Batches whose gradients make one step; more anchors, not more negatives.",
    )
    piece: int | None = Field(
        default=None,
        ge=1,
        description="Of lora and full: contents that go through the module together (gradient cache); by default "
        "as many as 2 GiB have room for, and half as many each time memory runs out.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="float32",
        description="Of lora and full: what matrices are multiplied in; auto takes bfloat16 for pretrained encoders "
        "where the hardware multiplies it.",
    )
    sampling: Literal["anchors", "classes"] = Field(
        default="anchors",
        description="What a batch is made of: anchors with their matches, or contents balanced over classes.",
    )
    matches_per_anchor: int = Field(
        default=64,
        ge=2,
        description="Judged matches one anchor brings to a batch; of more, another sample each epoch.",
    )
    loss: str = Field(
        default="infonce",
        description="See finetuner.losses; pml:<class> is a loss of pytorch-metric-learning.",
    )
    loss_options: dict[str, Any] = Field(
        default={}, description="Its arguments, such as temperature or margin."
    )
    backward: float = Field(
        default=0,
        ge=0,
        description="Weight of the same loss against documents as the version at the start embeds them, so that queries "
        "find something in an index of its; 0 leaves it out.",
    )
    matryoshka: list[int] = Field(
        default=[],
        description="Dimensions to which embeddings may be cut; the loss is taken at each of them too.",
    )
    in_batch_negatives: bool | None = Field(
        default=None,
        description="Whether matches of other anchors serve as negatives where nobody judged them; by default they "
        "do, but not for losses that learn values, which would be told about pairs that nobody has seen.",
    )
    in_batch_guard: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Contents of other anchors that the encoder before training finds closer than this share of the "
        "cosine of the anchor's positives do not serve as negatives.",
    )
    hard_negatives: int = Field(
        default=0, ge=0, description="Nearest wrong contents of the corpus that an anchor brings along."
    )
    hard_negative_guard: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="Share of the cosine of its positives above which they are left out.",
    )
    mine_every: int = Field(
        default=1, ge=1, description="Epochs after which hard negatives are looked for anew."
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="Peak step size; by default that of recipe and encoder."
    )
    weight_decay: float = Field(
        default=0.01, ge=0, description="Of AdamW, per step and learning rate; its usual value."
    )
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="How the learning rate goes on after its rise."
    )
    warmup: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the steps in which the rate rises linearly."
    )
    clip: float | None = Field(
        default=None, gt=0, description="Length to which a longer gradient is cut; by default it is not."
    )
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Decay of a moving average of the weights, which is kept instead.",
    )
    validation: float = Field(
        default=0.1, ge=0, le=0.5, description="Share of the anchors held out to choose the best epoch."
    )
    holdout: float = Field(
        default=0.1, ge=0, le=0.5, description="Share of the anchors held out to judge the result."
    )
    interpolate: list[float] = Field(
        default=[0.25, 0.5, 0.75],
        description="Shares of the way from the weights at the start to those after training that are tried on validation "
        "anchors besides both; empty tries nothing.",
    )
    primary: str = Field(
        default="map",
        description="The metric by which a share is chosen and the result judged; the best epoch is that of MAP.",
    )
    confidence: float = Field(
        default=0.95, ge=0.5, lt=1, description="How often the interval of a gain shall hold the true one."
    )
    patience: int = Field(
        default=10, ge=1, description="Epochs without a better validation MAP before it stops early."
    )
    save_seconds: float = Field(
        default=20,
        ge=0,
        description="Time after which the state of a run is written again, with the next step.",
    )
    positive_label: float | None = Field(
        default=None, description="The label value that means positive; default: sign."
    )
    negative_label: float | None = Field(default=None, description="The label value that means negative.")
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="Decides the split, the order and all other randomness."
    )

    @validator("loss_options", pre=True)
    def _whole_numbers(cls, given: Any) -> Any:
        """Take 5.0 for 5: on the wire all numbers are floats."""
        if not isinstance(given, Mapping):
            return given
        return {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in given.items()}

    @validator("interpolate", each_item=True)
    def _between(cls, share: float) -> float:
        if not 0 < share < 1:
            raise ValueError(f"{share:g} is no share of the way; give numbers above 0 and below 1")
        return share

    @validator("primary")
    def _known(cls, name: str) -> str:
        if name not in METRICS:
            raise ValueError(f"{name!r} is no metric; known are {', '.join(METRICS)}")
        return name

    @root_validator(skip_on_failure=True)
    def _go_together(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values["validation"] + values["holdout"] >= 1:
            raise ValueError("validation and holdout are all anchors; leave some to learn from")
        for recipe, names in _OF_RECIPE.items():
            for name in names:
                if values["recipe"] not in recipe.split() and values[name] != cls.__fields__[name].default:
                    raise ValueError(f"{name} belongs to recipe {recipe}, not to {values['recipe']}")
        for name, (needed, why) in _TOGETHER.items():
            if values[name] != cls.__fields__[name].default and not needed(values):
                raise ValueError(f"{name} {why}")
        try:
            _objective(values["loss"], values["loss_options"])
        except OptionError as error:
            raise ValueError(str(error)) from error
        return values

    @property
    def uses_scores(self) -> bool:
        """Whether the loss learns labels as values, of which 0 is one like others."""
        return _objective(self.loss, self.loss_options).uses_scores

    @property
    def uses_in_batch_negatives(self) -> bool:
        """What ``in_batch_negatives`` comes to."""
        if self.in_batch_negatives is None:
            return not _objective(self.loss, self.loss_options).learns_values
        return self.in_batch_negatives


def _objective(loss: str, options: Mapping[str, Any]) -> Objective:
    """Return the objective of small embeddings: what it is like does not depend on them."""
    return make_objective(loss, options, dim=1, groups=1)


_TOGETHER: dict[str, tuple[Callable[[dict[str, Any]], bool], str]] = {
    "mine_every": (lambda given: given["hard_negatives"] > 0, "goes with hard_negatives"),
    "hard_negative_guard": (lambda given: given["hard_negatives"] > 0, "goes with hard_negatives"),
    "in_batch_guard": (
        lambda given: given["in_batch_negatives"] is not False,
        "goes with in_batch_negatives",
    ),
    "matches_per_anchor": (lambda given: given["sampling"] == "anchors", "goes with sampling=anchors"),
    "backward": (lambda given: not given["queries_only"], "means nothing where documents stay as they are"),
}
"""The options that mean something only beside others."""

_OF_RECIPE = {
    "adapter": ["queries_only"],
    "head": ["head_dim", "head_hidden"],
    "lora": ["lora_rank", "lora_alpha", "lora_layers"],
    "full": ["freeze", "layer_decay"],
    "lora full": ["piece", "precision"],
}
"""The options that are of some recipes only."""
