"""Recall along the routes between two versions, and the order in which to embed documents again."""

import numpy as np
import pytest

from finetuner.compatibility import Map, Recalls, Relevant, Stamped, recalls, reembed_order
from finetuner.compatibility.stamped import Embeddings, normalised
from finetuner.errors import OptionError, OtherVersionError
from finetuner.evaluation import paired_difference
from finetuner.matches import Rows


def unit(rows: int, dim: int = 6, seed: int = 0) -> Embeddings:
    """Return random embeddings of length 1."""
    return normalised(np.random.default_rng(seed).normal(size=(rows, dim)))


def identity(dim: int = 6, new_dim: int | None = None) -> Map:
    """Return a map from v2 to v1 that leaves embeddings, or their first numbers, as they are."""
    return Map("rotation", "v2", "v1", np.eye(new_dim or dim, dim, dtype=np.float32))


def along(
    queries: tuple[Embeddings, Embeddings],
    documents: tuple[Embeddings, Embeddings],
    relevant: Relevant | None = None,
    *,
    between: Map | None = None,
    themselves: Rows | None = None,
    k: int = 3,
) -> Recalls:
    """Return the recall of (old, new) queries among (old, new) documents."""
    old, new = ((Stamped("v1", one[0]), Stamped("v2", one[1])) for one in (queries, documents))
    return recalls(
        between or identity(), old[0], old[1], new[0], new[1], relevant=relevant, themselves=themselves, k=k
    )


def test_recall_by_hand() -> None:
    """Two documents are relevant; the old space finds one of them in front, the new one both, unmapped queries none."""
    axes = np.eye(4, dtype=np.float32)
    query_old = normalised(np.array([[3.0, 0, 2, 1]]))
    query_new = normalised(np.array([[0.0, 1, 2, 3]]))
    swap = Map("rotation", "v2", "v1", np.ascontiguousarray(axes[::-1]))
    found = along(
        (query_old, query_new),
        (axes, np.ascontiguousarray(axes[::-1])),
        Relevant(np.array([0, 0]), np.array([0, 1])),
        between=swap,
        k=2,
    )
    assert found.recall == {"old->old": 0.5, "new->old": 0.0, "mapped->old": 1.0, "new->new": 1.0}
    assert (found.kept, found.queries, found.k) == (1.0, 1, 2)
    assert found.lost["old->old"] == (-0.5, -0.5, -0.5)


def test_recall_equals_a_loop() -> None:
    """Along each route it is what sorting all cosines of each query gives; the interval is that of the evaluation."""
    random = np.random.default_rng(0)
    queries, documents = (unit(20, seed=1), unit(20, seed=2)), (unit(50, seed=3), unit(50, seed=4))
    wanted = random.random((20, 50)) < 0.1
    wanted[:2] = False
    found = along(queries, documents, Relevant(*np.nonzero(wanted)))
    routes = {
        "old->old": (queries[0], documents[0]),
        "new->old": (queries[1], documents[0]),
        "mapped->old": (queries[1], documents[0]),
        "new->new": (queries[1], documents[1]),
    }
    shares = {}
    for route, (asking, asked) in routes.items():
        top = np.argsort(-asking @ asked.T, axis=1)[:, :3]
        shares[route] = np.array(
            [wanted[one, top[one]].sum() / wanted[one].sum() for one in range(20) if wanted[one].any()]
        )
    assert found.queries == len(shares["old->old"])
    assert found.recall == pytest.approx({route: one.mean() for route, one in shares.items()})
    assert found.lost["mapped->old"] == paired_difference(shares["mapped->old"], shares["new->new"], seed=0)


def test_by_default_the_nearest_in_the_new_space_are_relevant() -> None:
    """Full embedding then finds all; where both spaces are the same, so do the others."""
    queries, documents = unit(10), unit(30, seed=1)
    assert set(along((queries, queries), (documents, documents)).recall.values()) == {1.0}
    apart = along((queries, queries), (unit(30, seed=2), documents))
    assert apart.recall["new->new"] == 1.0
    assert apart.kept == apart.recall["mapped->old"] < 1.0


def test_a_query_does_not_find_itself() -> None:
    """As documents that ask for their next neighbour, pairs find each other."""
    pairs = np.repeat(unit(10), 2, axis=0) + 0.01 * unit(20, seed=1)
    documents = normalised(pairs)
    rows = np.arange(20)
    relevant = Relevant(rows, rows ^ 1)
    both = (documents, documents)
    assert along(both, both, relevant, themselves=rows, k=1).recall["new->new"] == 1.0
    assert along(both, both, relevant, k=1).recall["new->new"] == 0.0


def test_ties_count_as_not_found() -> None:
    """An encoder that maps all documents onto one point finds nothing, whichever rows are relevant."""
    point = np.repeat(unit(1), 10, axis=0)
    found = along((unit(4), unit(4)), (unit(10), point), Relevant(np.arange(4), np.arange(4)))
    assert found.recall["new->new"] == 0.0
    assert found.kept == 1.0


def test_unmapped_queries_need_equal_dimensions() -> None:
    """Where the new space has another dimension, nothing is said of new queries without a map."""
    queries, documents = (unit(5), unit(5, 8)), (unit(20), unit(20, 8))
    assert set(along(queries, documents, between=identity(6, 8)).recall) == {
        "old->old",
        "mapped->old",
        "new->new",
    }


def test_versions_are_never_mixed_up() -> None:
    """Old and new in each other's place are refused, for queries and for documents."""
    old, new = Stamped("v1", unit(20)), Stamped("v2", unit(20, seed=1))
    with pytest.raises(OtherVersionError, match="recalls: queries: embeddings of version 'v1'"):
        recalls(identity(), new, old, old, new)
    with pytest.raises(OtherVersionError, match="recalls: documents"):
        recalls(identity(), old, new, new, old)
    with pytest.raises(OtherVersionError, match="reembed_order: contents"):
        reembed_order(identity(), new, new, old)
    with pytest.raises(OtherVersionError, match="reembed_order: documents"):
        reembed_order(identity(), old, new, new)


def test_counts_that_do_not_fit_are_refused() -> None:
    """Other numbers of old and new ones, a k that takes everything and relevant rows beyond the end are option errors."""
    queries, documents = (unit(5), unit(5)), (unit(20), unit(20))
    with pytest.raises(OptionError, match=r"\[5, 20\] old and \[4, 20\] new"):
        along((unit(5), unit(4)), documents)
    with pytest.raises(OptionError, match="k=20"):
        along(queries, documents, k=20)
    with pytest.raises(OptionError, match="relevant documents are none, or beyond the 20"):
        along(queries, documents, Relevant(np.array([0]), np.array([20])))
    with pytest.raises(OptionError, match="relevant queries are none"):
        along(queries, documents, Relevant(np.zeros(0, np.int64), np.zeros(0, np.int64)))
    with pytest.raises(OptionError, match="20 old and 19 new"):
        reembed_order(identity(), Stamped("v1", unit(20)), Stamped("v2", unit(19)), Stamped("v1", unit(3)))


def test_what_the_map_puts_wrong_comes_first() -> None:
    """Of two regions, one as it was and one moved, the documents of the moved one lead, equal ones by row."""
    here, there = np.eye(6, dtype=np.float32)[0], np.eye(6, dtype=np.float32)[1]
    near = 0.05 * unit(24, seed=1)
    old = normalised(np.concatenate([here + near[:12], there + near[12:]]))
    new = old.copy()
    new[12:] = unit(12, seed=2)
    documents = np.stack([here, there, here, there, there])
    order = reembed_order(identity(), Stamped("v1", old), Stamped("v2", new), Stamped("v1", documents))
    assert order.tolist() == [1, 3, 4, 0, 2]


def test_the_order_equals_a_loop() -> None:
    """It is that of the mean over the ten nearest contents of 1 - cosine of mapped and old embedding."""
    old, new, documents = unit(40), unit(40, seed=1), unit(15, seed=2)
    wrong = [1 - float(new[row] @ old[row]) for row in range(40)]
    told = [np.mean([wrong[row] for row in np.argsort(-old @ one)[:10]]) for one in documents]
    order = reembed_order(identity(), Stamped("v1", old), Stamped("v2", new), Stamped("v1", documents))
    assert order.tolist() == np.argsort(np.negative(told)).tolist()
