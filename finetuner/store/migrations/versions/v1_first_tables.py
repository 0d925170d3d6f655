"""The first tables. Their databases do not say their version, and no new one gets them.

Revision ID: 1
"""

revision = "1"
down_revision = None


def upgrade() -> None:
    """Do nothing: a database without a version is taken for one that has these tables."""
