"""What can be asked of the versions, and who asks."""

from pydantic import Field

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
