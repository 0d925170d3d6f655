"""Processes are killed while clients feed: a short run of :mod:`tests.kill_feeding`, which can run for longer."""

from pathlib import Path

from tests.feeders import CLIENTS
from tests.kill_feeding import KilledFeeding, Outcome
from tests.postgresql import PostgreSQL, running_postgresql

KILLS = 4


def assert_sound(outcome: Outcome) -> None:
    """Fail with what is wrong, if anything is, or if nothing was tried."""
    assert (outcome.lost, outcome.twice, outcome.unsent) == ([], [], [])
    assert outcome.is_sound, outcome.kills
    assert len(outcome.kills) == KILLS
    # each client was answered before each kill, and after the last one
    assert outcome.acknowledged >= CLIENTS * (KILLS + 1)
    assert outcome.unacknowledged > 0


def test_what_was_acknowledged_outlives_the_executor(database_url: str, tmp_path: Path) -> None:
    """However its Executor is killed, every judgement that was acknowledged is there, and none twice."""
    outcome = KilledFeeding(database_url, tmp_path).run(KILLS)
    assert_sound(outcome)
    assert outcome.errors == 0  # nobody is ever told that the database fails


def test_what_was_acknowledged_outlives_the_database_server(
    postgresql_server: PostgreSQL, tmp_path: Path
) -> None:
    """The same holds where PostgreSQL is killed, with its Executor or without, which then goes on."""
    with running_postgresql() as server, server.database() as url:  # other tests need theirs alive
        assert_sound(KilledFeeding(url, tmp_path, server=server).run(KILLS))
