"""What a stream of match data can be asked for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, root_validator

from finetuner.documents import ContentKind
from finetuner.settings import Options
from finetuner.splits import SIDES, Side, sides


class DataOptions(Options):
    """Parameters of everything that reads a collection, beside those of the collection itself."""

    collection: str = Field(default="default", description="The collection to read.")
    position: int | None = Field(
        default=None,
        ge=0,
        description="Of a fed collection: the feed up to which to read; the newest by default.",
    )
    validation: float = Field(
        default=0.1, ge=0, le=0.5, description="Share of anchors in validation, as for /fit."
    )
    holdout: float = Field(
        default=0.1, ge=0, le=0.5, description="Share of anchors in the holdout, as for /fit."
    )
    split_seed: int = Field(default=0, ge=0, lt=2**31, description="The seed of the run whose split it is.")

    @root_validator(skip_on_failure=True)
    def _leave_some(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values["validation"] + values["holdout"] >= 1:
            raise ValueError("validation and holdout are all anchors; leave some to training")
        return values


class StreamOptions(DataOptions):
    """Parameters of every stream of match data."""

    cursor: str | None = Field(
        default=None,
        description="Where to go on: the cursor of the last frame that came; the rest as before.",
    )
    shard: int = Field(default=0, ge=0, description="Which of the disjoint parts to emit, counted from 0.")
    shards: int = Field(default=1, ge=1, description="Parts that together are everything.")
    split: Side | None = Field(
        default=None,
        description="Emit only the anchors of training, validation or holdout. They are those of a run, unless its "
        "encoder takes integers as floats.",
    )

    @root_validator(skip_on_failure=True)
    def _within(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values["shard"] >= values["shards"]:
            raise ValueError(f"shard {values['shard']} of {values['shards']}: they are counted from 0")
        return values

    def chosen(self, hashes: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return which anchors are on the side that is asked for, by their contents' hashes, uint8 (A, 16)."""
        found = sides(hashes, validation=self.validation, holdout=self.holdout, seed=self.split_seed)
        return found == SIDES.index(self.split) if self.split else np.ones(len(hashes), np.bool_)


class LintOptions(DataOptions):
    """Parameters of a report about a collection; its shares and seed say which leaks it looks for."""

    kind: ContentKind | None = Field(default=None, description="text or blob; by default all that there are.")


class PackOptions(StreamOptions):
    """Parameters of a packed stream."""

    kind: ContentKind | None = Field(default=None, description="text or blob; by default all that there are.")
    tags: bool = Field(default=False, description="Whether tags are sent along.")


class StoredOptions(Options):
    """Parameters of a stream for a collection that was fed."""

    num_total: int | None = Field(default=None, ge=0, description="Match Documents at most; all by default.")
