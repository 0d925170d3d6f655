"""One stream: its frames, the place behind each, and what it comes to."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

from finetuner.checksums import Checksum
from finetuner.errors import ChangedDataError, OptionError

ItemT = TypeVar("ItemT")
OfT = TypeVar("OfT", covariant=True)


@dataclass(frozen=True)
class Cursor:
    """A place in a stream.

    Attributes:
        position: The position of the collection that is streamed; 0 for one that is made.
        frames: Documents or packs before this place.
        checksum: First digits of their checksum: what is streamed now must agree.
    """

    position: int
    frames: int
    checksum: str

    def __str__(self) -> str:
        """Return how it is sent."""
        return f"{self.position}-{self.frames}-{self.checksum}"

    @classmethod
    def parse(cls, given: str) -> Self:
        """Return the cursor that was sent.

        Raises:
            OptionError: If it is none.
        """
        position, _, rest = given.partition("-")
        frames, _, checksum = rest.partition("-")
        if not (position.isdecimal() and frames.isdecimal() and checksum):
            raise OptionError(f"cursor {given!r} is none; give one as it came, such as '17-240-5f0c2a9e'")
        return cls(int(position), int(frames), checksum)


class Stream(Protocol[OfT]):
    """All frames of a stream, and then its end."""

    @property
    def is_in_memory(self) -> bool:
        """Whether its frames are there at once; else reading them takes its time."""
        ...

    def __iter__(self) -> Iterator[tuple[OfT, Cursor]]:
        """Yield each item with the cursor behind it."""
        ...

    def end(self) -> dict[str, Any]:
        """Return what the whole stream came to: its checksum, the position of the collection, and its frames."""
        ...


class Summed(Generic[ItemT]):
    """A stream that is summed up while it is read.

    Args:
        items: Its documents or packs.
        checksum: Sums them up.
        position: Of the collection; 0 for one that is made.
    """

    is_in_memory = False

    def __init__(self, items: Iterable[ItemT], checksum: Checksum[ItemT], position: int) -> None:
        self._items = items
        self._checksum = checksum
        self._position = position
        self._frames = 0

    def __iter__(self) -> Iterator[tuple[ItemT, Cursor]]:
        """Yield each item with the cursor behind it."""
        for item in self._items:
            self._checksum.add(item)
            self._frames += 1
            yield item, Cursor(self._position, self._frames, self._checksum.hexdigest()[:8])

    def end(self) -> dict[str, Any]:
        """Return what the whole stream came to."""
        return {"checksum": self._checksum.hexdigest(), "position": self._position, "frames": self._frames}


class Emission(Generic[ItemT]):
    """A stream from where a reader is: iterate over it once, then ask for its end.

    Args:
        stream: All of it.
        cursor: Where the reader is; None at its beginning.
    """

    def __init__(self, stream: Stream[ItemT], cursor: Cursor | None) -> None:
        self._stream = stream
        self._cursor = cursor

    @property
    def is_in_memory(self) -> bool:
        """Whether its items are there at once; else reading them takes long enough for others to notice."""
        return self._stream.is_in_memory

    def __iter__(self) -> Iterator[tuple[ItemT, Cursor]]:
        """Yield each item behind the reader's cursor with the cursor behind it.

        Raises:
            ChangedDataError: If the stream no longer begins as it did when the reader's cursor was made.
        """
        skipped = 0 if self._cursor is None else self._cursor.frames
        here = None
        for item, here in self._stream:
            if here.frames == skipped:
                self._check(here)
            if here.frames > skipped:
                yield item, here
        if skipped and (here is None or here.frames < skipped):
            self._check(here)

    def _check(self, here: Cursor | None) -> None:
        if here != self._cursor:
            raise ChangedDataError(
                f"cursor '{self._cursor}': what comes before it is no longer what was sent; documents were deleted, or "
                "the other parameters are not the same; begin again"
            )

    def end(self) -> dict[str, Any]:
        """Return what the whole stream came to, what was before the cursor included."""
        return self._stream.end()
