"""What can be asked of the versions, and who asks."""

from typing import Any

from pydantic import Field, root_validator

from finetuner.settings import Options


class Change(Options):
    """Parameters of ``/rollback``, and of all that changes versions."""

    by: str | None = Field(
        default=None, description="Who wants it, for the audit log; default: the endpoint."
    )

    def who(self, endpoint: str) -> str:
        """Return what the audit log shall tell."""
        return f"{self.by} by {endpoint}" if self.by else endpoint


class ChosenVersion(Change):
    """Parameters of ``/promote``."""

    version: str = Field(description="A version's name.")


class KeepOptions(ChosenVersion):
    """Parameters of ``/keep``."""

    kept: bool = Field(default=True, description="Whether it is kept, however old it gets.")


class AuditOptions(Options):
    """Parameters of ``/audit``."""

    last: int = Field(default=100, ge=1, description="Entries that are told at most: the last ones.")


class ShadowOptions(Options):
    """Parameters of ``/shadow``; without any it tells what the shadow found."""

    version: str | None = Field(
        default=None, description="The version that embeds, too; default: the one that does already."
    )
    share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Of the contents that are answered, how many; 0 ends the shadow.",
    )

    @root_validator(skip_on_failure=True)
    def _go_together(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values["version"] is not None and not values["share"]:
            raise ValueError("version needs a share above 0, such as 0.1; share=0 alone ends the shadow")
        return values
