"""Contents: each kept once, found again by its hash, on disk and back."""

import gc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.contents import ContentRows, content_hash, load_contents, save_contents
from finetuner.documents import Array, Document
from finetuner.errors import ContentError

TEXTS = [
    "plain",
    "two\nlines\r\n",
    'tab\tand "quotes" and \\',
    "naïve 数学 🙂",
    "\u2028\u0085\x00",
    "\ud800",
    " ",
]


def test_a_hash_tells_apart_value_shape_dtype_and_kind() -> None:
    """Equal bytes in another shape, another dtype or as a text are other contents."""
    array = np.arange(6, dtype=np.int64)
    arrays: list[Array] = [array.reshape(2, 3), array.astype(np.float32), array.view(np.uint64), array[::-1]]
    others: list[str | Array] = [*arrays, array.tobytes().decode("latin-1"), "", "a"]
    assert len({content_hash(one) for one in [array, *others]}) == 8
    assert content_hash(array) == content_hash(array.copy())


def test_equal_contents_share_a_row_that_the_first_document_names() -> None:
    """A content comes once, in the order of its first document, under that document's id."""
    rows = ContentRows("text")
    found = [rows.add(Document(id=str(at), text=text)) for at, text in enumerate(["b", "a", "b", "c", "a"])]
    contents, ids, hashes = rows.finish()
    assert found == [0, 1, 0, 2, 1]
    assert (contents, ids) == (["b", "a", "c"], ["0", "1", "3"])
    assert [bytes(one) for one in hashes] == [content_hash(text) for text in contents]


def test_float64_and_float32_of_the_same_numbers_are_one_content() -> None:
    """A client that sends doubles sends the same document."""
    rows = ContentRows("blob")
    numbers = np.array([0.1, 0.2])
    sent: list[Any] = [numbers, numbers.astype(np.float32), [0.1, 0.2]]
    assert [rows.add(Document(blob=blob)) for blob in sent] == [0, 0, 0]


def test_arrays_are_gathered_in_a_file_and_read_only() -> None:
    """The array is mapped from a file rather than held in memory, and nobody can write into it."""
    rows = ContentRows("blob")
    for value in (3, 1, 3, 2):
        rows.add(Document(blob=np.full((2, 2), value, np.float32)))
    contents = rows.finish()[0]
    assert isinstance(contents, np.memmap)
    assert not contents.flags.writeable
    del rows
    assert contents[:, 0, 0].tolist() == [3, 1, 2]


@pytest.mark.parametrize("other", [np.ones((3, 2)), np.ones((1, 2, 3)), np.ones((2, 3), np.int64)])
def test_arrays_that_are_not_alike_are_refused(
    other: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> None:
    """Another shape or dtype than the first one's is an error that names both documents."""
    rows = ContentRows("blob")
    rows.add(Document(id="first", blob=np.ones((2, 3))))
    with pytest.raises(
        ContentError, match=r"document 'odd': .*the first one \('first'\) is float32 \(2, 3\)"
    ):
        rows.add(Document(id="odd", blob=other))


def test_rows_that_are_given_up_close_their_file() -> None:
    """A document that is refused half way leaves no open file behind."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ContentRows("blob").add(Document(blob=np.ones(2)))
        gc.collect()
    assert [str(one.message) for one in caught] == []


def test_texts_come_back_from_disk_as_they_were(tmp_path: Path) -> None:
    """Line ends, control characters and what UTF-8 cannot hold survive the file with a text a line."""
    rows = ContentRows("text")
    for text in TEXTS:
        rows.add(Document(text=text))
    save_contents(rows.finish()[0], tmp_path)
    assert load_contents(tmp_path) == TEXTS


def test_arrays_come_back_from_disk_mapped(tmp_path: Path) -> None:
    """A saved array is opened, not read, with its shape and dtype."""
    saved = np.arange(24, dtype=np.int64).reshape(4, 3, 2)
    save_contents(saved, tmp_path)
    loaded = load_contents(tmp_path)
    assert isinstance(loaded, np.memmap)
    assert (loaded.dtype, loaded.tolist()) == (np.int64, saved.tolist())


def test_no_pickle_is_loaded_in_place_of_an_array(tmp_path: Path) -> None:
    """A file of Python objects, which could run code, is refused."""
    np.save(tmp_path / "contents.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        load_contents(tmp_path)
