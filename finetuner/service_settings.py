"""What the operator of a tuning service decides."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, validator

from finetuner.continual.settings import AutomaticRuns
from finetuner.errors import OptionError
from finetuner.settings import OperatorSettings


class ServiceSettings(OperatorSettings):
    """What the operator decides."""

    encoder: str = Field(
        default="mlp",
        description="mlp, cnn, bilstm, a sentence-transformers folder, or package.module:factory.",
    )
    encoder_options: dict[str, Any] = Field(default_factory=dict, description="Arguments of the factory.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Draws the weights of a new base encoder.")
    batch_size: int = Field(default=64, ge=1, description="Contents in one forward pass of /encode at most.")
    match_data: str | None = Field(
        default=None, description="Address of the data Executor, grpc://HOST:PORT."
    )
    keep_runs: int = Field(
        default=20,
        ge=0,
        description="Failed and cancelled runs of which is kept what /resume needs: the last ones.",
    )
    feature_cache_bytes: int = Field(
        default=2 * 1024**3,
        ge=0,
        description="What frozen encoders made, kept on disk at most; 0 keeps nothing.",
    )
    registry: str | None = Field(
        default=None,
        description="Where versions are: a folder, or a URL of fsspec such as s3://bucket/prefix; by default the "
        "workspace. Services that share one follow what is active there, and one of them trains.",
    )
    keep_versions: int = Field(
        default=20,
        ge=1,
        description="The newest versions that are kept, besides base, active, those that can be rolled back to, as many, "
        "those of /keep, and those that runs need.",
    )
    keep_warm: int = Field(
        default=2,
        ge=1,
        description="Versions that stay loaded: the last ones that served. With 2 a rollback loads nothing, and /encode "
        "can still be asked for the version before.",
    )
    guards: list[str] = Field(
        default=[],
        description="Collections of the data Executor that no run may make worse; /fit can name others besides.",
    )
    tune: AutomaticRuns | None = Field(
        default=None,
        description="When a run starts by itself, see finetuner.continual.settings.AutomaticRuns; by default never.",
    )

    @validator("tune", pre=True)
    def _check_tune(cls, given: Any) -> Any:
        if given is None or isinstance(given, AutomaticRuns):
            return given
        if not isinstance(given, Mapping):
            raise ValueError(
                "give a mapping with the collection, and min_new_judgements, every_hours or both"
            )
        try:
            return AutomaticRuns.parse(given, where="automatic runs")
        except OptionError as error:
            raise ValueError(str(error)) from error

    @validator("guards", "tune")
    def _need_match_data(cls, given: Any, values: dict[str, Any]) -> Any:
        if given and not values.get("match_data"):
            raise ValueError("collections need a data Executor; give match_data=grpc://HOST:PORT")
        return given
