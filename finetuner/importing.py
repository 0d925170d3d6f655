"""What doors read, brought into a collection pack by pack: what was accepted before a fault stays accepted."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from finetuner.doors import Door
from finetuner.errors import FinetunerError
from finetuner.packs import Feed, Pack
from finetuner.store import FeedReport

ItemT = TypeVar("ItemT")


def bring_in(door: Door, feed: Callable[[Pack], FeedReport]) -> FeedReport:
    """Feed all that a door reads.

    Args:
        door: An open door.
        feed: Feeds one pack, leaving out what cannot be stored; it returns when the rest is on disk.

    Returns:
        What all of it came to; refused rows of the file are among what was refused.

    Raises:
        FinetunerError: What is wrong with the file, or with all of a pack; the message tells what was accepted
            before, and stays.
        ConnectionError: If the service is lost to which ``feed`` speaks, in the same way.
    """
    report = _each(door.packs, feed)
    return report + FeedReport(refused=door.refused, refusals=door.refusals)


def bring_back(feeds: Iterable[Feed], feed: Callable[[Feed], FeedReport]) -> FeedReport:
    """Feed all that was exported, with its sources and times; errors are those of :func:`bring_in`."""
    return _each(feeds, feed)


def _each(items: Iterable[ItemT], feed: Callable[[ItemT], FeedReport]) -> FeedReport:
    report = FeedReport()
    try:
        for item in items:
            report += feed(item)
    except (FinetunerError, ConnectionError) as error:
        raise type(error)(
            f"{error}; before that, {report.accepted} judgements and {report.contents} contents were accepted, which "
            f"stay, {report.known} judgements were known and {report.refused} refused"
        ) from error
    return report
