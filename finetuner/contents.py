"""Contents by row: each one kept once, found again by the hash of what it is."""

import hashlib
import json
import tempfile
import weakref
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from finetuner.documents import Array, ContentKind, DocumentLike, content_of
from finetuner.errors import ContentError

Contents = list[str] | Array
"""N texts, or one array (N, ...)."""


def content_hash(content: str | Array) -> bytes:
    """Return 128 bits of BLAKE2b over a canonical content, its shape and its dtype."""
    if isinstance(content, str):
        return hashlib.blake2b(
            content.encode("utf-8", "surrogatepass"), digest_size=16, person=b"text"
        ).digest()
    about = f"{content.dtype.str}{content.shape}".encode()
    return hashlib.blake2b(about + content.tobytes(), digest_size=16, person=b"blob").digest()


class Alike:
    """Refuses an array that differs from the first one in shape or dtype; texts are all alike."""

    def __init__(self) -> None:
        self.first: Array | None = None
        self._first_id = ""

    def check(self, content: str | Array, document_id: Any) -> None:
        """Raise ContentError if the content differs from the first one."""
        if isinstance(content, str):
            return
        if self.first is None:
            self.first, self._first_id = content, str(document_id)
        if (content.shape, content.dtype) != (self.first.shape, self.first.dtype):
            raise ContentError(
                f"document {document_id!r}: the .blob is {content.dtype} {content.shape}, "
                f"the first one ({self._first_id!r}) is {self.first.dtype} {self.first.shape}; all must be alike"
            )


class ContentRows:
    """Gathers contents, each once, all of one kind, shape and dtype.

    Args:
        kind: What to take of documents.
        floats: Take integers as float32 numbers, not as token ids: JSON writes 1.0 as 1.
    """

    def __init__(self, kind: ContentKind, *, floats: bool = False) -> None:
        self.kind: ContentKind = kind
        self._floats = floats
        self._row_of: dict[bytes, int] = {}
        self._ids: list[str] = []
        self._texts: list[str] = []
        self._alike = Alike()
        # arrays never pile up in memory: they are gathered in a nameless file, which is memory-mapped at the end
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the rows
        weakref.finalize(self, self._file.close)

    def add(self, document: DocumentLike) -> int:
        """Return the row of the document's content, a new one if it was not there.

        Raises:
            ContentError: If the content is missing or unfit, or differs in shape or dtype from the first.
        """
        return self.append(content_of(document, self.kind), document.id)

    def append(self, content: str | Array, document_id: Any) -> int:
        """Return the row of a canonical content, a new one under that id if it was not there.

        Raises:
            ContentError: If it differs in shape or dtype from the first.
        """
        if self._floats and not isinstance(content, str):
            content = content.astype(np.float32, copy=False)
        self._alike.check(content, document_id)
        digest = content_hash(content)
        row = self._row_of.setdefault(digest, len(self._ids))
        if row == len(self._ids):
            self._ids.append(str(document_id))
            if isinstance(content, str):
                self._texts.append(content)
            else:
                self._file.write(content.tobytes())
        return row

    def finish(self) -> tuple[Contents, list[str], NDArray[np.uint8]]:
        """Return (contents, ids, hashes); nothing may be added any more."""
        hashes = np.frombuffer(b"".join(self._row_of), np.uint8).reshape(len(self._ids), 16)
        return (self._texts if self.kind == "text" else self._array()), self._ids, hashes

    def _array(self) -> Array:
        first = self._alike.first
        assert first is not None, "an array set has at least one row"
        self._file.flush()
        return np.memmap(self._file, first.dtype, "r", shape=(len(self._ids), *first.shape))


def save_contents(contents: Contents, folder: Path) -> None:
    """Write contents into a folder: ``contents.npy``, or ``contents.jsonl`` with a text a line."""
    if isinstance(contents, np.ndarray):
        np.save(folder / "contents.npy", contents)
        return
    with (folder / "contents.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(text) + "\n" for text in contents)


def load_contents(folder: Path) -> Contents:
    """Open saved contents; an array is memory-mapped."""
    if (folder / "contents.npy").exists():
        return cast(Array, np.load(folder / "contents.npy", mmap_mode="r", allow_pickle=False))
    with (folder / "contents.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
