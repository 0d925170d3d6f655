"""One encoder's folder of a feature cache: what is on disk, and who may do what to it.

    <digest of the fingerprint>.features/
        rows.f32      vectors, float32 (rows, dim); only appended to
        hashes.bin    of each row the content's hash, 16 bytes, and a CRC-32 of both, the hash first
        about.json    fingerprint, dim, and how many rows there are; replaced atomically when the rest is on disk
        lock          held while a portion is appended, and while the folder is put away
        filling       held by the process that goes through what is missing from its start

What lies behind the rows that about.json counts is not there, and is written over. The folder itself is locked, shared,
by whoever uses it, and its time is that of the last use.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import weakref
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]
Keys = NDArray[np.bytes_]
"""Hashes as one value each, S16: all 16 bytes are compared, zeros at the end included."""

RECORD = np.dtype([("hash", "S16"), ("crc", "<u4")])

_FORMAT = 1


class GoneError(Exception):
    """The folder was deleted, so begin anew. It never leaves the package."""


class UnfitError(GoneError):
    """The folder is not what was written: delete it and begin anew."""


class Shelf:
    """The folder of one encoder, made if it was not there, and not evicted as long as this object lives.

    Everything goes through a handle of the folder, so that once it is deleted nothing that is done here meets the
    one that has taken its place.

    Args:
        root: The folder of the cache.
        fingerprint: Of the encoder.

    Raises:
        GoneError: If it is deleted at that moment.
    """

    def __init__(self, root: Path, fingerprint: str) -> None:
        digest = hashlib.blake2b(fingerprint.encode(), digest_size=16).hexdigest()
        self.folder = root / f"{digest}.features"
        self.dim: int | None = None
        self._fingerprint = fingerprint
        self._seen = 0
        self.folder.mkdir(parents=True, exist_ok=True)
        self.handle = opened(self.folder)
        weakref.finalize(self, os.close, self.handle)
        fcntl.flock(self.handle, fcntl.LOCK_SH)
        self._check()
        os.utime(self.handle)

    def find(self, keys: Keys) -> tuple[Vectors, Rows]:
        """Return all vectors that are kept, memory-mapped (R, D), and the row of each content, -1 for none.

        Raises:
            GoneError: If the folder was deleted; UnfitError: if it is not what was written.
            OSError: If a file cannot be read.
        """
        rows = self._seen = self._count()
        if not rows:
            return np.zeros((0, 0), np.float32), np.full(len(keys), -1, np.int64)
        records = self._records(0, rows)
        with self._file("rows.f32", os.O_RDONLY) as handle, open(handle, "rb", closefd=False) as file:
            mapped = np.memmap(file, np.float32, "r", shape=(rows, self.dim or 0)).view(np.ndarray)
        kept = np.ascontiguousarray(records["hash"])
        order = np.argsort(kept, kind="stable")
        # the last of equal ones: it was appended because the one before is damaged
        index = order[np.searchsorted(kept[order], keys, side="right") - 1]
        index[kept[index] != keys] = -1
        used = np.unique(index[index >= 0])
        intact = np.zeros(rows + 1, bool)  # the last one is for -1
        intact[used] = _crcs(kept[used], (mapped[row] for row in used.tolist())) == records["crc"][used]
        return mapped, np.where(intact[index], index, -1)

    def news(self) -> Keys:
        """Return the hashes that were appended, by whomever, since this or :meth:`find` was called last.

        Raises:
            GoneError: If the folder was deleted; UnfitError: if it is not what was written.
            OSError: If a file cannot be read.
        """
        start, self._seen = self._seen, self._count()
        return np.ascontiguousarray(self._records(start, self._seen)["hash"])

    def append(self, keys: Keys, vectors: Vectors) -> None:
        """Add vectors (n, D) behind those that :meth:`news` has told of, while nobody else is :meth:`appending`.

        Raises:
            GoneError: If the folder was deleted.
            OSError: If they cannot be written; nothing is added then.
        """
        self.dim = vectors.shape[1]
        records = np.empty(len(keys), RECORD)
        records["hash"], records["crc"] = keys, _crcs(keys, vectors)
        self._write("rows.f32", self._seen * vectors[0].nbytes, vectors)
        self._write("hashes.bin", self._seen * RECORD.itemsize, records)
        about = {"format": _FORMAT, "fingerprint": self._fingerprint, "dim": self.dim}
        text = json.dumps({**about, "rows": self._seen + len(keys)})
        self._write("about.json.part", 0, np.frombuffer(text.encode(), np.uint8))
        with _in_words(self.folder / "about.json"):
            os.replace("about.json.part", "about.json", src_dir_fd=self.handle, dst_dir_fd=self.handle)
            os.fsync(self.handle)

    @contextlib.contextmanager
    def appending(self) -> Iterator[None]:
        """Wait until nobody else appends, and keep it so.

        Raises:
            GoneError: If the folder was deleted.
            OSError: If the lock cannot be had.
        """
        with self._file("lock", os.O_RDWR | os.O_CREAT) as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def filling(self) -> Iterator[bool]:
        """Tell whether nobody else fills the folder already.

        Raises:
            GoneError: If the folder was deleted.
            OSError: If the lock cannot be had.
        """
        with self._file("filling", os.O_RDWR | os.O_CREAT) as handle:
            yield try_lock(handle)

    def _check(self) -> None:
        with _in_words(self.folder):
            if not os.path.samestat(os.fstat(self.handle), self.folder.stat()):
                raise GoneError

    def _count(self) -> int:
        """Return how many rows there are, and note their dimension."""
        self._check()
        size = self._size("about.json")
        if size is None:
            return 0
        try:
            about = json.loads(self._read("about.json", size, 0))
        except ValueError as error:
            raise UnfitError from error
        if not isinstance(about, dict) or not self._fits(about):
            raise UnfitError
        self.dim = int(about["dim"])
        return int(about["rows"])

    def _fits(self, about: Mapping[str, object]) -> bool:
        rows, dim = about.get("rows"), about.get("dim")
        if (about.get("format"), about.get("fingerprint")) != (_FORMAT, self._fingerprint):
            return False
        if not isinstance(rows, int) or not isinstance(dim, int) or rows < 1 or dim < 1:
            return False
        sizes = (self._size("rows.f32") or 0) // (4 * dim), (self._size("hashes.bin") or 0) // RECORD.itemsize
        return min(sizes) >= rows

    def _records(self, start: int, stop: int) -> NDArray[np.void]:
        if start >= stop:
            return np.zeros(0, RECORD)
        size = RECORD.itemsize
        return np.frombuffer(self._read("hashes.bin", (stop - start) * size, start * size), RECORD)

    def _size(self, name: str) -> int | None:
        try:
            return os.stat(name, dir_fd=self.handle).st_size
        except FileNotFoundError:
            return None

    def _read(self, name: str, size: int, offset: int) -> bytes:
        with self._file(name, os.O_RDONLY) as handle, _in_words(self.folder / name):
            return os.pread(handle, size, offset)

    def _write(self, name: str, offset: int, array: NDArray[np.generic]) -> None:
        """Let a file end with this array, which begins at an offset, and return when it is on disk."""
        rest, end = array.view(np.uint8).reshape(-1).data, offset
        with self._file(name, os.O_RDWR | os.O_CREAT) as handle, _in_words(self.folder / name):
            try:
                while rest:
                    written = os.pwrite(handle, rest, end)
                    end, rest = end + written, rest[written:]
                os.ftruncate(handle, end)
                os.fdatasync(handle)
            except OSError:
                os.ftruncate(handle, offset)  # others may need the room
                raise

    @contextlib.contextmanager
    def _file(self, name: str, flags: int) -> Iterator[int]:
        with _in_words(self.folder / name):
            handle = os.open(name, flags, 0o666, dir_fd=self.handle)
        try:
            yield handle
        finally:
            os.close(handle)


def opened(folder: Path) -> int:
    """Return a handle of a folder; GoneError if it is gone."""
    with _in_words(folder):
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def try_lock(handle: int) -> bool:
    """Return whether a file or folder could be locked; the lock ends when its handle is closed."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Let errors of the system name the path; where it is gone, that is no error."""
    try:
        yield
    except FileNotFoundError as error:
        raise GoneError from error
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _crcs(keys: Keys, vectors: Iterable[Vectors]) -> NDArray[np.uint32]:
    """Return the checksums of vectors, each going on from that of its hash."""
    crcs = (
        zlib.crc32(vector.data, zlib.crc32(key)) for vector, key in zip(vectors, keys.tolist(), strict=True)
    )
    return np.fromiter(crcs, np.uint32, len(keys))
