"""Nearest contents: against a sort of all cosines, and where bounds, ties and blocks could go wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from finetuner import nearest as rooms
from finetuner.errors import EncoderError, OptionError
from finetuner.matches import Rows
from finetuner.nearest import Embeddings, Nearest, nearest


@pytest.fixture(params=[torch.bfloat16, torch.float32], ids=["bfloat16", "float32"], autouse=True)
def either_filter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with both filters, whatever the processor can."""
    monkeypatch.setattr(rooms, "_filter_dtype", lambda: request.param)


def unit(rows: int, dimension: int = 16, seed: int = 0, clusters: int = 10) -> Embeddings:
    """Return random embeddings of length 1, in clusters."""
    random = np.random.default_rng(seed)
    centres = 2 * random.normal(size=(clusters, dimension))
    vectors = random.normal(size=(rows, dimension)) + centres[random.integers(clusters, size=rows)]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def sorted_all(
    queries: Embeddings,
    corpus: Embeddings,
    count: int,
    left_out: NDArray[np.bool_] | None = None,
    below: Embeddings | None = None,
) -> tuple[NDArray[np.float64], Rows]:
    """Return the nearest by sorting all cosines in float64."""
    cosine = queries.astype(np.float64) @ corpus.T.astype(np.float64)
    if left_out is not None:
        cosine[left_out] = -np.inf
    if below is not None:
        cosine[cosine > below[:, None]] = -np.inf
    order = np.argsort(-cosine, axis=1, kind="stable")[:, :count]
    cosine = np.take_along_axis(cosine, order, axis=1)
    return cosine, np.where(cosine == -np.inf, -1, order)


def check(found: Nearest, cosine: NDArray[np.float64], rows: Rows) -> None:
    """Check the result against the sort; rows may only differ where cosines are equal but for rounding."""
    assert [found.cosine.dtype.name, found.rows.dtype.name] == ["float32", "int64"]
    width = cosine.shape[1]
    np.testing.assert_allclose(found.cosine[:, :width], cosine, atol=3e-7)
    differ = found.rows[:, :width] != rows
    assert differ.mean() < 1e-3
    assert (found.rows[:, width:] == -1).all()
    assert (found.cosine[:, width:] == -np.inf).all()


def test_nearest_by_hand() -> None:
    """Of the axes and their halfway the nearest to the first axis are itself, the halfway, and the second axis."""
    half = np.sqrt(0.5)
    corpus = np.array([[0, 1], [half, half], [-1, 0], [1, 0]], dtype=np.float32)
    found = nearest(corpus[3:], corpus, 3)
    assert found.rows.tolist() == [[3, 1, 0]]
    np.testing.assert_allclose(found.cosine, [[1, half, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("queries", "rows", "count"), [(520, 1500, 5), (30, 700, 200), (7, 64, 64), (3, 65, 1), (2, 1, 3)]
)
def test_the_nearest_are_those_of_a_full_sort(queries: int, rows: int, count: int) -> None:
    """Sizes at, below and above a chunk and a block, and more wanted than there are, give what sorting gives."""
    asking, corpus = unit(queries, seed=1), unit(rows)
    check(nearest(asking, corpus, count), *sorted_all(asking, corpus, count))


def test_what_a_hook_and_a_bound_leave_out_is_not_found() -> None:
    """With pairs left out at random and a bound for each query, over several spans, the sort finds the same."""
    asking, corpus = unit(200, seed=1), unit(900)
    random = np.random.default_rng(0)
    left_out = random.random((200, 900)) < 0.1
    below = random.uniform(-0.3, 0.9, 200).astype(np.float32)

    def keep(rows: Rows, columns: slice, cosine: torch.Tensor) -> None:
        cosine[torch.from_numpy(left_out[rows, columns])] = -torch.inf

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rooms, "_SPAN", 250)
        patch.setattr(rooms, "_BLOCK", 64)
        patch.setattr(rooms, "_CHUNK", 4)  # so that most chunks are not looked into
        found = nearest(asking, corpus, 6, keep=keep, below=below)
    check(found, *sorted_all(asking, corpus, 6, left_out, below))
    highest, _ = sorted_all(asking, corpus, 1, left_out)
    assert found.passed.tolist() == (highest[:, 0] > below).tolist()


def test_close_cosines_are_told_apart() -> None:
    """A thousand contents whose cosines differ by 2e-5, far below what bfloat16 sees, come in their right order."""
    angles = np.linspace(0.5, 0.53, 1000)[::-1]
    corpus = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = nearest(np.array([[1, 0]], np.float32), corpus, 40)
    assert found.rows[0].tolist() == list(range(999, 959, -1))


def test_of_equal_contents_the_lower_rows_are_taken() -> None:
    """300 copies of three contents: for each the first rows of its copies, in order, though spans cut them."""
    corpus = np.eye(3, dtype=np.float32)[np.arange(900) % 3]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rooms, "_SPAN", 400)
        found = nearest(corpus[:3], corpus, 4)
    assert found.rows.tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]


def test_what_is_nearer_comes_before_equal_ones() -> None:
    """Behind the nearest one, of 500 copies the first two; a bound between both leaves out the nearest, and says so."""
    corpus = np.repeat(unit(1), 500, axis=0)
    asking = corpus[:1].copy()
    corpus[:] = unit(1, seed=1)
    corpus[7] = asking
    assert nearest(asking, corpus, 3).rows.tolist() == [[7, 0, 1]]
    bound = (asking @ corpus[0] + 0.1).astype(np.float32)
    found = nearest(asking, corpus, 3, below=bound)
    assert (found.rows.tolist(), found.passed.tolist()) == ([[0, 1, 2]], [True])


@pytest.mark.parametrize(("bound", "passed"), [(0.6001, False), (0.5999, True)])
def test_a_bound_is_kept_to_the_fourth_digit(bound: float, passed: bool) -> None:
    """A cosine of 0.6 is found under 0.6001 and not under 0.5999, though bfloat16 sees no difference."""
    corpus = np.array([[0.6, 0.8]], np.float32)
    found = nearest(np.array([[1, 0]], np.float32), corpus, 1, below=np.array([bound], np.float32))
    assert (found.rows.tolist(), found.passed.tolist()) == ([[-1 if passed else 0]], [passed])


def test_all_contents_alike_end_in_the_first_rows() -> None:
    """An encoder that maps everything onto one point gets the first rows that are not left out."""
    corpus = np.repeat(unit(1), 500, axis=0)

    def keep(rows: Rows, columns: slice, cosine: torch.Tensor) -> None:
        cosine[:, :3] = -torch.inf

    found = nearest(corpus[:2], corpus, 3, keep=keep)
    assert found.rows.tolist() == [[3, 4, 5]] * 2


def test_only_negative_cosines_are_ranked_too() -> None:
    """A corpus on the far side of the query, in which the nearest have the farthest beside them."""
    cosine = np.linspace(-0.3, -0.7, 200)
    cosine[20:30] = [-0.1, -0.9, -0.11, -0.9, -0.12, -0.9, -0.13, -0.9, -0.14, -0.9]
    corpus = np.stack([cosine, np.sqrt(1 - cosine**2)], axis=1).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rooms, "_CHUNK", 2)
        found = nearest(np.array([[1, 0]], np.float32), corpus, 5)
    assert found.rows.tolist() == [[20, 22, 24, 26, 28]]


def test_what_is_left_out_altogether_leaves_holes() -> None:
    """A query for which everything is left out has rows of -1 and cosines of -inf."""

    def keep(rows: Rows, columns: slice, cosine: torch.Tensor) -> None:
        cosine[torch.from_numpy(rows == 1)] = -torch.inf

    found = nearest(unit(3), unit(50), 2, keep=keep)
    assert found.rows[1].tolist() == [-1, -1]
    assert (found.rows[[0, 2]] >= 0).all()
    assert (found.cosine[1] == -np.inf).all()


def test_neither_filter_nor_blocks_change_the_cosines() -> None:
    """The same bytes come out in one block and in many."""
    asking, corpus = unit(100, seed=1), unit(500)
    whole = nearest(asking, corpus, 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rooms, "_BLOCK", 32)
        patch.setattr(rooms, "_SPAN", 200)
        parts = nearest(asking, corpus, 5)
    assert whole.rows.tobytes() == parts.rows.tobytes()
    assert whole.cosine.tobytes() == parts.cosine.tobytes()


def test_a_memory_mapped_corpus_is_searched_like_one_in_memory(tmp_path: Path) -> None:
    """A file of embeddings, opened read-only, gives the same bytes."""
    asking, corpus = unit(20, seed=1), unit(500)
    np.save(tmp_path / "corpus.npy", corpus)
    mapped = np.load(tmp_path / "corpus.npy", mmap_mode="r")
    assert nearest(asking, mapped, 5).rows.tobytes() == nearest(asking, corpus, 5).rows.tobytes()


def test_nothing_asked_and_nothing_there() -> None:
    """No query gives no row; an empty corpus gives holes."""
    assert nearest(unit(3)[:0], unit(4), 2).rows.shape == (0, 2)
    assert nearest(unit(3), unit(4)[:0], 2).rows.tolist() == [[-1, -1]] * 3


def test_what_does_not_fit_is_refused() -> None:
    """Other dimensions, no count, a bound too few, and embeddings that are too long or not finite."""
    with pytest.raises(OptionError, match=r"queries \(2, 16\), corpus \(2, 8\)"):
        nearest(unit(2), unit(2, 8), 1)
    with pytest.raises(OptionError, match="count is 0"):
        nearest(unit(2), unit(2), 0)
    with pytest.raises(OptionError, match="below"):
        nearest(unit(2), unit(2), 1, below=np.ones(3, np.float32))
    with pytest.raises(EncoderError, match="length 2"):
        nearest(2 * unit(2), unit(2), 1)
    with pytest.raises(EncoderError, match="length nan"):
        nearest(unit(2), unit(2) * np.float32(np.nan), 1)


def test_a_bound_below_zero_tells_what_it_left_out() -> None:
    """Where all cosines are negative too, a query learns whether some were above its bound."""
    query = np.array([[1, 0], [1, 0]], np.float32)
    angles = np.linspace(1.6, 2.8, 40)  # cosines from -0.03 to -0.94
    corpus = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = nearest(query, corpus, 3, below=np.array([-0.5, -0.01], np.float32))
    assert found.passed.tolist() == [True, False]
