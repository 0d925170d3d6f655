"""Streams that were read of late, as they are sent."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from finetuner.emission.stream import Cursor, Stream
from finetuner.packs import Pack

CACHE_BYTES = 16 * 2**20
"""Bytes of frames that are kept in memory for the next reader."""


class Sized(Protocol):
    """What takes memory."""

    @property
    def nbytes(self) -> int:
        """About how many bytes."""
        ...


FrameT = TypeVar("FrameT", bound=Sized)


@dataclass
class _Kept(Generic[FrameT]):
    """A whole stream in memory."""

    frames: list[tuple[FrameT, Cursor]] = field(default_factory=list)
    nbytes: int = 0
    told: dict[str, Any] = field(default_factory=dict)
    is_in_memory = True

    def __iter__(self) -> Iterator[tuple[FrameT, Cursor]]:
        return iter(self.frames)

    def end(self) -> dict[str, Any]:
        return self.told


class FrameCache(Generic[FrameT]):
    """Makes frames of packs, and keeps streams that were read to their end: the next reader of the same gets them at once.

    What is kept is what is sent, so that nobody has to make it again; the packs themselves are let go.

    Args:
        frame: Makes what is sent of a pack and the cursor behind it.
        limit: Bytes of all frames, at most.
    """

    def __init__(self, frame: Callable[[Pack, Cursor], FrameT], limit: int = CACHE_BYTES) -> None:
        self.frame = frame
        self._limit = limit
        self._lock = threading.Lock()
        self._streams: OrderedDict[Hashable, _Kept[FrameT]] = OrderedDict()

    def stream(self, key: Hashable, fresh: Stream[Pack]) -> Stream[FrameT]:
        """Return the frames that are kept under a key.

        Args:
            key: Names the stream; None for one that is not kept.
            fresh: The packs, if nothing is kept; their frames are kept once they were read.
        """
        with self._lock:
            if key not in self._streams:
                return _Keeping(fresh, self, key)
            self._streams.move_to_end(key)
            return self._streams[key]

    def keep(self, key: Hashable, kept: _Kept[FrameT]) -> None:
        """Keep a stream, and let go of those that nobody has read for longest, if they are too many bytes."""
        with self._lock:
            self._streams[key] = kept
            while sum(one.nbytes for one in self._streams.values()) > self._limit:
                self._streams.popitem(last=False)

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._streams.clear()

    def fits(self, nbytes: int) -> bool:
        """Return whether a stream of so many bytes can be kept."""
        return nbytes <= self._limit


class _Keeping(Generic[FrameT]):
    """A stream on its way to its first reader, and into the cache."""

    is_in_memory = False

    def __init__(self, fresh: Stream[Pack], cache: FrameCache[FrameT], key: Hashable) -> None:
        self._fresh = fresh
        self._cache = cache
        self._key = key

    def __iter__(self) -> Iterator[tuple[FrameT, Cursor]]:
        kept: _Kept[FrameT] = _Kept()
        is_kept = self._key is not None
        for pack, cursor in self._fresh:
            frame = self._cache.frame(pack, cursor)
            kept.nbytes += frame.nbytes
            is_kept = is_kept and self._cache.fits(kept.nbytes)
            if is_kept:
                kept.frames.append((frame, cursor))
            else:
                kept.frames.clear()
            yield frame, cursor
        if is_kept:
            kept.told = self.end()
            self._cache.keep(self._key, kept)

    def end(self) -> dict[str, Any]:
        return self._fresh.end()
