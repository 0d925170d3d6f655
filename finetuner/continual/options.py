"""What a run can be told beside how it trains: which data it learns from, and what must not get worse."""

from typing import Any

from pydantic import Field

from finetuner.settings import Options


class ContinualOptions(Options):
    """Options of a run that goes on from earlier ones."""

    guards: list[str] = Field(
        default=[],
        description="Collections of the data Executor that must not get worse, beside those of the operator.",
    )
    since: str | None = Field(
        default=None,
        description="Learn from anchors with judgements that are new since then: a version (a name, base or active), for "
        "what it learnt from, or a position of the collection.",
    )
    replay: float = Field(
        default=1.0,
        ge=0,
        description="Of since: anchors without new judgements that are learnt from again, for each one with.",
    )

    def as_task(self) -> dict[str, Any]:
        """Return what was asked for as part of a run's task; nothing where nothing was."""
        going_on = {"since": self.since, "replay": self.replay} if self.since is not None else {}
        return going_on | ({"guards": self.guards} if self.guards else {})
