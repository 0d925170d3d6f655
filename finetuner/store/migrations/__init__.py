"""Migrations: how the tables of an older version become today's."""

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection

from finetuner.errors import SourceError
from finetuner.store.schema import metadata

FIRST = "1"
"""The version whose databases do not say their version."""


def is_current(connection: Connection) -> bool:
    """Return whether the tables are there and of this version."""
    return MigrationContext.configure(connection).get_current_revision() == _script().get_current_head()


def migrate(connection: Connection) -> None:
    """Make the tables in an empty database, or bring those of an older version up to date; both all or nothing.

    Raises:
        SourceError: If a later version of the library made them.
    """
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('finetuner migrations'))"))
    script = _script()
    context = MigrationContext.configure(connection)
    current = context.get_current_revision()
    if current == script.get_current_head():
        return
    if current is None and not inspect(connection).has_table("contents"):
        metadata.create_all(connection)
        context.stamp(script, "head")
        return
    known = {one.revision for one in script.walk_revisions()}
    if current is not None and current not in known:
        raise SourceError(
            f"match store {connection.engine.url}: its tables have version {current}, and this program knows "
            f"{', '.join(sorted(known))}; use the version of the program that made it, or a later one"
        )
    if current is None:
        context.stamp(script, FIRST)
    with EnvironmentContext(
        Config(), script, fn=lambda revision, _: script._upgrade_revs("head", revision)
    ) as run:
        run.configure(connection=connection, target_metadata=metadata)
        run.run_migrations()


def _script() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", "finetuner.store:migrations")
    return ScriptDirectory.from_config(config)
