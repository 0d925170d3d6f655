"""When a run is to start by itself."""

import pytest

from finetuner.continual.due import Earlier, News, due, last_of, position_of, run_name
from finetuner.continual.settings import AutomaticRuns

HOUR = 3600.0


def settings(least: int | None = None, hours: float | None = None) -> AutomaticRuns:
    """Return what an operator says."""
    return AutomaticRuns(collection="c", min_new_judgements=least, every_hours=hours)


@pytest.mark.parametrize(("new", "is_due"), [(4, False), (5, True), (6, True)])
def test_enough_judgements_are_as_many_as_were_waited_for(new: int, is_due: bool) -> None:
    """With min_new_judgements=5 a fifth one starts the run."""
    found = due(settings(least=5), Earlier(3, 0.0), News(4, new), now=1.0)
    assert found.is_due is is_due


@pytest.mark.parametrize(("hours", "is_due"), [(1.99, False), (2.0, True)])
def test_time_is_up_once_it_has_gone_by(hours: float, is_due: bool) -> None:
    """With every_hours=2 one new judgement is learnt two hours after the start of the last run."""
    found = due(settings(hours=2), Earlier(3, 100.0), News(4, 1), now=100.0 + hours * HOUR)
    assert found.is_due is is_due


def test_either_occasion_is_enough() -> None:
    """Few judgements after a long time start a run, and many after a short one."""
    both = settings(least=5, hours=2)
    assert due(both, Earlier(3, 0.0), News(4, 1), now=3 * HOUR).is_due
    assert due(both, Earlier(3, 0.0), News(4, 5), now=1.0).is_due
    assert not due(both, Earlier(3, 0.0), News(4, 4), now=1.0).is_due


def test_nothing_new_is_never_due() -> None:
    """However long ago the last run is, and though documents without judgements have come."""
    assert due(settings(hours=2), Earlier(3, 0.0), News(9, 0), now=99 * HOUR).why == "nothing is new"
    assert not due(settings(least=1, hours=2), None, News(9, 0), now=0.0).is_due


def test_a_run_at_this_position_is_not_started_again() -> None:
    """Also where it has failed; and although what it should have learnt is still new."""
    found = due(settings(least=1, hours=1), Earlier(4, 0.0), News(4, 100), now=99 * HOUR)
    assert (found.is_due, found.why) == (False, "a run was started at position 4 already")


def test_a_run_that_has_not_ended_is_waited_for() -> None:
    """Two would learn the same."""
    found = due(settings(least=1), Earlier(3, 0.0, has_ended=False), News(4, 100), now=1.0)
    assert (found.is_due, found.why) == (False, "the run at position 3 has not ended yet")


def test_the_first_run_waits_for_judgements_but_for_no_time() -> None:
    """Without an earlier run there is nothing from which to count hours."""
    assert not due(settings(least=5), None, News(4, 4), now=0.0).is_due
    assert due(settings(least=5), None, News(4, 5), now=0.0).is_due
    assert due(settings(hours=24), None, News(4, 1), now=0.0).is_due


def test_the_reason_tells_what_was_waited_for() -> None:
    """People read it in the log."""
    found = due(settings(least=5, hours=2), Earlier(3, 0.0), News(4, 7), now=1.0)
    assert found.why == "7 new judgements have come, and 5 were waited for"


def test_the_last_run_is_the_one_that_started_last() -> None:
    """Not the one at the highest position, which may be from before the collection was deleted."""
    assert last_of([Earlier(9, 1.0), Earlier(2, 5.0)]) == Earlier(2, 5.0)
    assert last_of([]) is None


def test_the_name_of_a_run_tells_collection_and_position() -> None:
    """It is the same for whoever starts it; runs of other collections and of people are told apart."""
    assert run_name("feed.back", 17) == "auto-feed.back-17"
    assert position_of("auto-feed.back-17", "feed.back") == 17
    assert position_of("auto-feedxback-17", "feed.back") is None
    assert position_of("auto-feed.back-1-17", "feed.back") is None
    assert position_of("nightly", "feed.back") is None
