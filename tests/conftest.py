"""Databases for all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgresql import PostgreSQL, PostgreSQLMissingError, running_postgresql


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    """A PostgreSQL server; where none is installed the test is skipped, which CI does not let pass."""
    try:
        with running_postgresql() as server:
            yield server
    except PostgreSQLMissingError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture
def postgresql_url(postgresql_server: PostgreSQL) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    with postgresql_server.database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'matches.db'}"
    return str(request.getfixturevalue("postgresql_url"))
