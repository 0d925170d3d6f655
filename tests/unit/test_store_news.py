"""What has come to a collection since a position."""

import pytest

from finetuner.errors import UnknownCollectionError
from finetuner.store import CollectionNews
from tests.document_store import DocumentStore
from tests.unit.test_store import asked, file, judged, store

__all__ = ["file", "store"]


def test_judgements_are_counted_that_came_after_a_position(store: DocumentStore) -> None:
    """Another label of the same source counts, the same again and a match without a label do not."""
    store.feed_documents("c", [asked("q", judged("a", 1), judged("b", -1))])
    store.feed_documents("c", [asked("q", judged("a", -1), judged("b", -1), judged("u", None))])
    store.feed_documents("c", [asked("r", judged("a", 1))])
    found = [store.news("c", since).new_judgements for since in (0, 1, 2, 3, 9)]
    assert found == [4, 2, 1, 0, 0]
    assert store.news("c", 1) == CollectionNews("c", position=3, new_judgements=2)


def test_news_of_other_collections_are_theirs(store: DocumentStore) -> None:
    """Positions are counted in each."""
    store.feed_documents("c", [asked("q", judged("a", 1))])
    store.feed_documents("d", [asked("q", judged("a", 1))])
    assert store.news("c", 0).new_judgements == 1
    with pytest.raises(UnknownCollectionError, match="'e'"):
        store.news("e", 0)
