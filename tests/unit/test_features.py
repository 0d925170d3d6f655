"""Frozen outputs are computed once, kept, and never wrong."""

import errno
import gc
import os
import resource
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from finetuner.contents import Contents, content_hash
from finetuner.errors import EncoderError
from finetuner.features import FeatureCache, FeatureRows, cache
from finetuner.features.eviction import put_away
from finetuner.features.shelf import Shelf

DIM = 8
ROOMY = 2**30
TEXTS = [f"text {number}" for number in range(10)]

Vectors = NDArray[np.float32]


class Counting:
    """Embeds texts as numbers drawn from their hash, and notes which it was given at once."""

    def __init__(self, salt: str = "", *, dim: int = DIM) -> None:
        self.salt = salt
        self.dim = dim
        self.calls: list[list[str]] = []

    def __call__(self, contents: Contents) -> Vectors:
        """Return float32 (n, dim)."""
        texts = [str(content) for content in contents]
        self.calls.append(texts)
        return self.expected(texts)

    def expected(self, texts: list[str]) -> Vectors:
        """Return what texts must become."""
        seeds = [list(content_hash(self.salt + text)) for text in texts]
        return np.stack([np.random.default_rng(seed).random(self.dim, np.float32) for seed in seeds])

    @property
    def embedded(self) -> list[str]:
        """All that was embedded, in order."""
        return [text for call in self.calls for text in call]


def hashed(contents: Contents) -> NDArray[np.uint8]:
    """Return the hashes of contents, (N, 16)."""
    return np.array([list(content_hash(content)) for content in contents], np.uint8).reshape(-1, 16)


def features(
    folder: Path,
    texts: list[str],
    embed: Callable[[Contents], Vectors],
    *,
    most_bytes: int = ROOMY,
    of: str = "v0",
) -> FeatureRows:
    """Return the features of texts, from a cache that was opened for them alone."""
    return FeatureCache(folder, most_bytes=most_bytes).features(of, texts, hashed(texts), embed)


def everything(rows: FeatureRows) -> Vectors:
    """Return all vectors."""
    return rows.take(np.arange(rows.shape[0]))


def file(folder: Path, name: str) -> Path:
    """Return the file of that name of the only encoder."""
    [path] = folder.glob(f"*.features/{name}")
    return path


@pytest.fixture
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "PORTION", 4)


@contextmanager
def longest_file(nbytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond that, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_each_content_is_embedded_once(tmp_path: Path) -> None:
    """Only what no cache of that folder has embedded is embedded; all vectors are in the order that was asked for."""
    embed = Counting()
    features(tmp_path, TEXTS[:6], embed)
    asked = [TEXTS[7], *TEXTS[5::-1], TEXTS[6]]
    assert np.array_equal(everything(features(tmp_path, asked, embed)), embed.expected(asked))
    assert embed.calls == [TEXTS[:6], [TEXTS[7], TEXTS[6]]]


def test_equal_contents_are_embedded_once(tmp_path: Path) -> None:
    """Contents with the same hash share a vector."""
    embed = Counting()
    rows = features(tmp_path, ["a", "b", "a", "c", "a"], embed)
    assert embed.calls == [["a", "b", "c"]]
    assert rows.shape == (5, DIM)
    assert np.array_equal(everything(rows), embed.expected(["a", "b", "a", "c", "a"]))


def test_hashes_are_compared_in_full(tmp_path: Path) -> None:
    """Hashes that differ in the last byte alone, zeros at their end included, are those of different contents."""
    hashes = np.zeros((3, 16), np.uint8)
    hashes[1, 15] = 1
    hashes[2, 0] = 1
    embed = Counting()
    opened = FeatureCache(tmp_path, most_bytes=ROOMY)
    opened.features("v0", ["a"], hashes[:1], embed)
    rows = opened.features("v0", ["a", "b", "c"], hashes, embed)
    assert np.array_equal(everything(rows), embed.expected(["a", "b", "c"]))


def test_encoders_do_not_mix(tmp_path: Path) -> None:
    """Another fingerprint has vectors of its own, of a dimension of its own."""
    old, new = Counting("old"), Counting("new", dim=3)
    features(tmp_path, TEXTS, old)
    assert features(tmp_path, TEXTS, new, of="v1").shape == (10, 3)
    assert np.array_equal(everything(features(tmp_path, TEXTS, old)), old.expected(TEXTS))
    assert (len(old.calls), len(new.calls)) == (1, 1)


@pytest.mark.usefixtures("_small_portions")
def test_what_was_embedded_before_a_failure_is_kept(tmp_path: Path) -> None:
    """Contents are embedded in portions, and each is kept when it is done."""
    embed = Counting()

    def failing(contents: Contents) -> Vectors:
        if len(embed.calls) == 2:
            raise FileNotFoundError("a file of the encoder")
        return embed(contents)

    with pytest.raises(FileNotFoundError, match="of the encoder"):
        features(tmp_path, TEXTS, failing)
    assert np.array_equal(everything(features(tmp_path, TEXTS, embed)), embed.expected(TEXTS))
    assert embed.calls == [TEXTS[:4], TEXTS[4:8], TEXTS[8:]]


def test_portions_of_large_arrays_are_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays come some at a time, so many that they fit, and one that does not fit comes alone."""
    images = np.arange(5 * 6, dtype=np.uint8).reshape(5, 2, 3)
    sizes = []

    def embed(contents: Contents) -> Vectors:
        assert isinstance(contents, np.ndarray)
        sizes.append(len(contents))
        return contents.reshape(len(contents), 6).astype(np.float32)

    for fingerprint, most in (("v0", 12), ("v1", 5)):
        monkeypatch.setattr(cache, "PORTION_BYTES", most)
        opened = FeatureCache(tmp_path, most_bytes=ROOMY)
        rows = opened.features(fingerprint, images, hashed(images), embed)
        assert np.array_equal(everything(rows), images.reshape(5, 6))
    assert sizes == [2, 2, 1, *[1] * 5]


def test_taken_vectors_belong_to_the_caller(tmp_path: Path) -> None:
    """Whichever rows are taken, they are a new array: to write into it changes nothing that is kept."""
    embed = Counting()
    rows = features(tmp_path, TEXTS, embed)
    for wanted in (np.arange(2, 7), np.array([3, 3, 0, 9]), np.array([2, 0, 4]), np.array([4]), np.arange(0)):
        taken = rows.take(wanted)
        assert type(taken) is np.ndarray
        assert (taken.dtype, taken.shape) == (np.dtype(np.float32), (len(wanted), DIM))
        assert np.array_equal(taken, embed.expected(TEXTS)[wanted])
        taken[:] = 0
    assert np.array_equal(everything(rows), embed.expected(TEXTS))


def test_what_lies_behind_the_rows_that_count_is_not_there(tmp_path: Path) -> None:
    """A process that was killed leaves half a portion: it is written over, and its hashes are not found."""
    embed = Counting()
    features(tmp_path, TEXTS[:3], embed)
    with file(tmp_path, "rows.f32").open("ab") as rows, file(tmp_path, "hashes.bin").open("ab") as hashes:
        rows.write(bytes(20 * 4 * DIM + 5))
        hashes.write(hashed(TEXTS[3:4]).tobytes() + bytes(500))
    assert np.array_equal(everything(features(tmp_path, TEXTS, embed)), embed.expected(TEXTS))
    assert embed.embedded == TEXTS
    sizes = [file(tmp_path, name).stat().st_size for name in ("rows.f32", "hashes.bin")]
    assert sizes == [10 * 4 * DIM, 10 * 20]


def test_a_changed_vector_is_embedded_again(tmp_path: Path) -> None:
    """A bit is noticed, and so are vectors or hashes that were exchanged; the others are good as they are."""
    embed = Counting()
    features(tmp_path, TEXTS, embed)
    vectors = np.memmap(file(tmp_path, "rows.f32"), np.uint8, "r+", shape=(10, 4 * DIM))
    vectors[2, 5] ^= 1
    vectors[[6, 8]] = vectors[[8, 6]]
    vectors.flush()
    hashes = np.memmap(file(tmp_path, "hashes.bin"), np.uint8, "r+", shape=(10, 20))
    hashes[[0, 9], :16] = hashes[[9, 0], :16]
    hashes[4, 15] ^= 1
    hashes.flush()
    for _ in range(2):
        assert np.array_equal(everything(features(tmp_path, TEXTS, embed)), embed.expected(TEXTS))
    assert embed.calls[1:] == [[TEXTS[row] for row in (0, 2, 4, 6, 8, 9)]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("about.json", b"{"),
        ("about.json", b"[]"),
        ("about.json", b'{"format": 1, "fingerprint": "v0", "dim": 8, "rows": 11}'),
        ("about.json", b'{"format": 1, "fingerprint": "v0", "dim": 0, "rows": 10}'),
        ("about.json", b'{"format": 1, "fingerprint": "v1", "dim": 8, "rows": 10}'),
        ("about.json", b'{"format": 2, "fingerprint": "v0", "dim": 8, "rows": 10}'),
        ("rows.f32", b"short"),
        ("hashes.bin", b""),
    ],
)
def test_a_folder_that_is_not_what_was_written_begins_anew(tmp_path: Path, name: str, text: bytes) -> None:
    """Whichever file was cut or rewritten, the vectors are made again; those that somebody holds stay good."""
    embed = Counting()
    held = features(tmp_path, TEXTS, embed)
    path = file(tmp_path, name)
    path.unlink()
    path.write_bytes(text)
    assert np.array_equal(everything(features(tmp_path, TEXTS, embed)), embed.expected(TEXTS))
    assert np.array_equal(everything(held), embed.expected(TEXTS))
    assert embed.calls == [TEXTS, TEXTS]


@pytest.mark.parametrize(
    "unfit",
    [
        np.zeros((10, DIM)),
        np.zeros(10, np.float32),
        np.zeros((9, DIM), np.float32),
        np.zeros((10, 0), np.float32),
        np.zeros((10, DIM, 1), np.float32),
        np.full((10, DIM), np.nan, np.float32),
        [[0.0] * DIM] * 10,
    ],
    ids=str,
)
def test_unfit_vectors_are_refused(tmp_path: Path, unfit: Vectors) -> None:
    """Another type or shape than float32 (n, D), or a number that is not finite, is an error; nothing is kept."""
    with pytest.raises(
        EncoderError, match=r"the encoder made .* of 10 contents.*; float32 \(10, dimension\)"
    ):
        features(tmp_path, TEXTS, lambda _: unfit)
    embed = Counting()
    features(tmp_path, TEXTS, embed)
    assert embed.calls == [TEXTS]


def test_a_fingerprint_has_one_dimension(tmp_path: Path) -> None:
    """Vectors of another dimension under the same fingerprint are refused: one of both encoders is another one."""
    features(tmp_path, TEXTS[:5], Counting())
    with pytest.raises(EncoderError, match=r"float32 \(5, 3\) .*float32 \(5, 8\)"):
        features(tmp_path, TEXTS, Counting(dim=3))


def test_no_content_is_refused(tmp_path: Path) -> None:
    """Without contents there is no dimension to tell."""
    with pytest.raises(EncoderError, match="no content"):
        features(tmp_path, [], Counting())


def test_contents_may_be_memory_mapped(tmp_path: Path) -> None:
    """Of an array in a file only the portion that is embedded is read."""
    images = np.lib.format.open_memmap(tmp_path / "images.npy", "w+", np.float32, (6, 2))
    images[:] = np.arange(12).reshape(6, 2)
    opened = FeatureCache(tmp_path / "cache", most_bytes=ROOMY)
    rows = opened.features(
        "v0", images, hashed(np.asarray(images)), lambda contents: np.array(contents, np.float32)
    )
    assert np.array_equal(everything(rows), images)


@pytest.mark.usefixtures("_small_portions")
def test_what_two_embed_at_once_is_kept_once(tmp_path: Path) -> None:
    """What another one has appended while it was embedded here is not appended again, nor embedded later on."""
    mine, other = Counting("mine"), Counting("other")

    def embed(contents: Contents) -> Vectors:
        if not other.calls:
            features(tmp_path, TEXTS[2:10], other)
        return mine(contents)

    rows = features(tmp_path, TEXTS, embed)
    assert mine.embedded == TEXTS[:4]
    assert sorted(other.embedded) == TEXTS[2:]
    expected = np.concatenate([mine.expected(TEXTS[:2]), other.expected(TEXTS[2:])])
    assert np.array_equal(everything(rows), expected)
    assert file(tmp_path, "hashes.bin").stat().st_size == 10 * 20


@pytest.mark.usefixtures("_small_portions")
def test_the_second_one_begins_at_the_end(tmp_path: Path) -> None:
    """Two that want the same share the work: the first goes forward, the other one comes to meet it."""
    first, second = Counting(), Counting()

    def embed(contents: Contents) -> Vectors:
        if not second.calls:
            features(tmp_path, TEXTS, second)
        return first(contents)

    features(tmp_path, TEXTS, embed)
    assert first.calls == [TEXTS[:4]]
    assert second.calls == [TEXTS[8:], TEXTS[4:8], TEXTS[:4]]


def test_the_encoder_that_was_not_used_for_longest_is_evicted(tmp_path: Path) -> None:
    """Where the next portion does not fit, whole encoders go, by their last use, until it does."""
    embed = Counting()
    for name in ("v0", "v1", "v2"):
        features(tmp_path, TEXTS, embed, of=name)
    features(tmp_path, TEXTS, embed, of="v0")
    size = sum(path.stat().st_size for path in tmp_path.glob("*.features/*"))
    features(tmp_path, TEXTS, embed, of="v3", most_bytes=size)
    assert len(embed.calls) == 4
    for name in ("v0", "v2", "v3"):
        features(tmp_path, TEXTS, embed, of=name)
    assert len(embed.calls) == 4
    assert len(list(tmp_path.iterdir())) == 3


def test_what_is_in_use_is_not_evicted(tmp_path: Path) -> None:
    """An encoder whose vectors somebody holds stays, and so does the one that takes more than there is room for."""
    embed = Counting()
    held = features(tmp_path, TEXTS, embed, of="v0")
    features(tmp_path, TEXTS, embed, of="v1", most_bytes=1)
    features(tmp_path, TEXTS, embed, of="v0", most_bytes=1)
    features(tmp_path, TEXTS, embed, of="v1", most_bytes=1)
    assert len(embed.calls) == 2
    del held
    gc.collect()
    features(tmp_path, TEXTS, embed, of="v2", most_bytes=1)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_others_have_made_since_is_not_put_away(tmp_path: Path) -> None:
    """Who meant the one that was there before leaves the new one at its path alone."""
    embed = Counting()
    features(tmp_path, TEXTS, embed)
    [folder] = tmp_path.glob("*.features")
    handle = os.open(folder, os.O_RDONLY)
    folder.rename(tmp_path / "elsewhere")
    features(tmp_path, TEXTS, embed)
    put_away(folder, handle)
    assert folder.exists()
    os.close(handle)
    handle = os.open(folder, os.O_RDONLY)
    put_away(folder, handle)
    assert not folder.exists()
    os.close(handle)


def test_clear_takes_everything_away(tmp_path: Path) -> None:
    """No file of the cache is left, nor what a killed process was deleting; vectors that somebody holds stay good."""
    embed = Counting()
    held = features(tmp_path, TEXTS, embed)
    features(tmp_path, TEXTS, embed, of="v1")
    (tmp_path / "0123.45.gone").mkdir()
    (tmp_path / "notes.txt").write_text("not of the cache")
    FeatureCache(tmp_path, most_bytes=ROOMY).clear()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert np.array_equal(everything(held), embed.expected(TEXTS))
    features(tmp_path, TEXTS, embed)
    assert len(embed.calls) == 3


def test_clear_waits_for_who_is_appending(tmp_path: Path) -> None:
    """No portion is written into a folder while it is deleted: that would leave vectors behind."""
    features(tmp_path, TEXTS, Counting())
    shelf = Shelf(tmp_path, "v0")
    clearing = threading.Thread(target=FeatureCache(tmp_path, most_bytes=ROOMY).clear)
    with shelf.appending():
        clearing.start()
        clearing.join(0.05)
        assert clearing.is_alive()
    clearing.join(10)
    assert not list(tmp_path.iterdir())


def test_a_cache_that_was_never_used_can_be_cleared(tmp_path: Path) -> None:
    """A folder that is not there has nothing to delete, and is not made."""
    FeatureCache(tmp_path / "none", most_bytes=ROOMY).clear()
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("_small_portions")
@pytest.mark.parametrize("how", ["clear", "deleted", "moved"])
def test_a_folder_may_be_deleted_under_a_call(tmp_path: Path, how: str) -> None:
    """Whoever deletes it while contents are embedded, the call begins anew and returns what is right."""
    embed = Counting()

    def deleting(contents: Contents) -> Vectors:
        if len(embed.calls) == 1:
            if how == "clear":
                FeatureCache(tmp_path, most_bytes=ROOMY).clear()
            elif how == "deleted":
                shutil.rmtree(tmp_path)
            else:
                file(tmp_path, ".").rename(tmp_path / "elsewhere")
        return embed(contents)

    assert np.array_equal(everything(features(tmp_path, TEXTS, deleting)), embed.expected(TEXTS))
    assert embed.embedded == [*TEXTS[:8], *TEXTS]
    assert file(tmp_path, "rows.f32").stat().st_size == 10 * 4 * DIM


def test_a_folder_that_is_deleted_again_and_again_is_an_error(tmp_path: Path) -> None:
    """There is no endless loop."""
    embed = Counting()

    def deleting(contents: Contents) -> Vectors:
        shutil.rmtree(tmp_path)
        return embed(contents)

    with pytest.raises(OSError, match="vectors were lost 10 times"):
        features(tmp_path, TEXTS, deleting)
    assert len(embed.calls) == 10


@pytest.mark.parametrize(
    ("dim", "room", "full"),
    [
        (DIM, 5 * 4 * DIM, "rows.f32"),
        (DIM, 10, "rows.f32"),
        (DIM, 0, "rows.f32"),
        (1, 6 * 20, "hashes.bin"),
        (1, 10 * 4, "hashes.bin"),
        (1, 10 * 4, "about.json.part"),
    ],
)
def test_a_full_disk_is_an_error_that_loses_nothing(tmp_path: Path, dim: int, room: int, full: str) -> None:
    """It names the file; what was kept before is there, without what came after, and goes on when there is room."""
    embed = Counting(dim=dim)
    kept, wanted = (TEXTS[:1], TEXTS[:2]) if full == "about.json.part" else (TEXTS[:3], TEXTS)
    held = features(tmp_path, kept, embed)
    with longest_file(room), pytest.raises(OSError, match=rf"\.features.*{full}") as caught:
        features(tmp_path, wanted, embed)
    assert caught.value.errno == errno.EFBIG
    assert file(tmp_path, full).stat().st_size == {"rows.f32": 4 * dim, "hashes.bin": 20}.get(full, 0) * len(
        kept
    )
    assert np.array_equal(everything(held), embed.expected(kept))
    assert np.array_equal(everything(features(tmp_path, kept, embed)), embed.expected(kept))
    assert np.array_equal(everything(features(tmp_path, wanted, embed)), embed.expected(wanted))
    assert embed.calls == [kept, wanted[len(kept) :], wanted[len(kept) :]]


def test_many_contents_are_found_by_their_hashes(tmp_path: Path) -> None:
    """Fifty thousand, in another order than they were embedded in."""
    hashes = np.random.default_rng(0).integers(0, 256, (50_000, 16), dtype=np.uint8)
    texts = [""] * len(hashes)
    vectors = np.arange(len(hashes), dtype=np.float32)[:, None]
    rows = FeatureCache(tmp_path, most_bytes=ROOMY).features(
        "v0", texts, hashes, lambda contents: vectors[: len(contents)]
    )
    order = np.random.default_rng(1).permutation(len(hashes))
    again = FeatureCache(tmp_path, most_bytes=ROOMY).features("v0", texts, hashes[order], Counting())
    assert np.array_equal(everything(again), rows.take(order))
