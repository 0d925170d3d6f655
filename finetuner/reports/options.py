"""What an evaluation can be told: which versions, what is ranked, what the labels mean, and how it is reported."""

from typing import Any, Literal

from pydantic import Field, validator

from finetuner.evaluation import KS
from finetuner.settings import Options

DEEPEST = 1000
"""The largest rank at which metrics may be cut: what is held for an anchor grows with it."""


class JudgeOptions(Options):
    """What is judged, how, and what the labels mean."""

    version: str = Field(
        default="active",
        description="The version that is held against the others: its name, or base, or active.",
    )
    versions: list[str] = Field(
        default=[],
        max_items=8,
        description="More versions that are ranked beside base and active, at most 8.",
    )
    ks: list[int] = Field(
        default=list(KS),
        min_items=1,
        max_items=10,
        description=f"Ranks at which hit@k, recall@k and nDCG@k are cut, 1 to {DEEPEST}.",
    )
    over: Literal["auto", "judged", "corpus"] = Field(
        default="auto",
        description="What each anchor ranks. judged: its own judged matches; what nobody judged is left out. corpus: all "
        "contents; what nobody judged counts as irrelevant. auto: judged where most anchors with a positive have a negative "
        "too, else corpus; and the other one beside it, for a thousand anchors at most.",
    )
    segment: str | None = Field(
        default=None, description="A tag of anchors; figures are told for each of its values too."
    )
    html: bool = Field(
        default=False, description="Whether the answer also holds the report as a page, in tags['html']."
    )
    positive_label: float | None = Field(
        default=None, description="The label value that means positive; default: sign."
    )
    negative_label: float | None = Field(default=None, description="The label value that means negative.")

    @validator("ks", pre=True)
    def _keep_ranks_whole(cls, ks: Any) -> Any:
        for k in ks if isinstance(ks, list | tuple) else ():
            number = isinstance(k, int | float) and not isinstance(k, bool)
            if not (number and 1 <= k <= DEEPEST and float(k).is_integer()):
                raise ValueError(f"{k!r} is not a whole number from 1 to {DEEPEST}")
        return ks
