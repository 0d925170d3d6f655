"""A store in several processes: one is killed in the middle of a feed, several feed at once."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.synchronize import Barrier, Event

import pytest

from finetuner.documents import Document, labelled
from finetuner.packing import packed
from finetuner.packs import Pack
from finetuner.store import CollectionInfo, MatchStore
from tests.feeders import FORKS

PROCESSES, FEEDS = 4, 20


def pack(anchor: str, *matches: str) -> Pack:
    """Return a pack of one anchor with positive matches; all texts are ids."""
    found = [Document(name, tags=labelled({}, 1), id=name) for name in matches]
    (made,) = packed([Document(anchor, matches=found, id=anchor)])
    return made


def judgements(store: MatchStore) -> Counter[tuple[str, str, str]]:
    """Return how often (source, anchor, match) stands in the log."""
    return Counter(
        (feed.source, feed.pack.ids[anchor], feed.pack.ids[match])
        for feed in store.log("c")
        for number, anchor in enumerate(feed.pack.anchors)
        for match in feed.pack.matches[feed.pack.offsets[number] : feed.pack.offsets[number + 1]]
    )


def feed_and_hang(url: str, half: Event) -> None:
    """Feed one pack, and then two packs and a third that never comes."""

    def hanging() -> Iterator[Pack]:
        yield pack("half", "a", "new")
        yield pack("half too", "b")
        half.set()
        time.sleep(600)

    with closing(MatchStore(url)) as store:
        store.feed("c", [pack("whole", "a", "b")])
        store.feed("c", hanging())


def test_a_feed_that_is_cut_leaves_nothing(database_url: str) -> None:
    """After kill -9 in the middle of a feed nothing of it is there, and others feed at once."""
    half = FORKS.Event()
    with closing(MatchStore(database_url)) as store:
        feeder = FORKS.Process(target=feed_and_hang, args=(database_url, half), daemon=True)
        feeder.start()
        assert half.wait(60)
        expected = [CollectionInfo("c", anchors=1, contents=3, judgements=2, position=1)]
        during = store.collections()
        feeder.kill()
        feeder.join()
        assert (during, store.collections()) == (expected, expected)
        assert store.feed("c", [pack("half", "a", "new")]).accepted == 2
        assert store.position("c") == 2
    with closing(MatchStore(database_url)) as store:
        assert [info.contents for info in store.collections()] == [5]


def feed_together(url: str, source: str, begin: Barrier) -> None:
    """Feed anchors of all processes and matches of one's own, all at the same moment."""
    begin.wait(60)
    with closing(MatchStore(url)) as store:
        for number in range(FEEDS):
            store.feed("c", [pack(f"q{number % 3}", f"{source}-{number}", f"common-{number}")], source=source)


@pytest.mark.parametrize("opened", [False, True], ids=["a new database", "an open one"])
def test_processes_feed_together(database_url: str, opened: bool) -> None:
    """Of four processes that feed one collection at once, each judgement is there once, at positions without a gap."""
    if opened:
        MatchStore(database_url).close()
    begin = FORKS.Barrier(PROCESSES)
    feeders = [
        FORKS.Process(target=feed_together, args=(database_url, f"s{one}", begin), daemon=True)
        for one in range(PROCESSES)
    ]
    for feeder in feeders:
        feeder.start()
    for feeder in feeders:
        feeder.join(60)
    assert [feeder.exitcode for feeder in feeders] == [0] * PROCESSES
    with closing(MatchStore(database_url)) as store:
        assert judgements(store) == Counter(
            (f"s{one}", f"q{number % 3}", match)
            for one in range(PROCESSES)
            for number in range(FEEDS)
            for match in (f"s{one}-{number}", f"common-{number}")
        )
        assert store.position("c") == PROCESSES * FEEDS
