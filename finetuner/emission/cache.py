"""Streams of packs that were read of late."""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

from finetuner.emission.stream import Cursor, Stream
from finetuner.packs import Pack

CACHE_BYTES = 16 * 2**20
"""Bytes of packs that are kept in memory for the next reader."""

Frame = tuple[Pack, Cursor]


@dataclass
class _Kept:
    """A whole stream in memory."""

    frames: list[Frame] = field(default_factory=list)
    nbytes: int = 0
    told: dict[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def end(self) -> dict[str, Any]:
        return self.told


class PackCache:
    """Keeps streams that were read to their end: the next reader of the same data gets them at once.

    Args:
        limit: Bytes of all of them, at most.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._streams: OrderedDict[Hashable, _Kept] = OrderedDict()

    def stream(self, key: Hashable, fresh: Stream[Pack]) -> Stream[Pack]:
        """Return the stream that is kept under a key; if none is, a fresh one that is kept once it was read."""
        with self._lock:
            if key not in self._streams:
                return _Keeping(fresh, self, key)
            self._streams.move_to_end(key)
            return self._streams[key]

    def keep(self, key: Hashable, kept: _Kept) -> None:
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


class _Keeping:
    """A stream on its way to its first reader, and into the cache."""

    def __init__(self, fresh: Stream[Pack], cache: PackCache, key: Hashable) -> None:
        self._fresh = fresh
        self._cache = cache
        self._key = key

    def __iter__(self) -> Iterator[Frame]:
        kept = _Kept()
        for pack, cursor in self._fresh:
            kept.nbytes += pack.nbytes
            if self._cache.fits(kept.nbytes):
                kept.frames.append((pack, cursor))
            else:
                kept.frames.clear()
            yield pack, cursor
        if self._cache.fits(kept.nbytes):
            kept.told = self.end()
            self._cache.keep(self._key, kept)

    def end(self) -> dict[str, Any]:
        return self._fresh.end()
