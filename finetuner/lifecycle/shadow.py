"""A version in the shadow of the one that serves: it embeds some of the same contents, and nobody gets its answers."""

import functools
import hashlib
import heapq
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetuner.contents import Contents, content_hash
from finetuner.lifecycle.agreement import KS, agreement
from finetuner.models import Embeddings, Encoder, Side

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class _Piece:
    """Contents that were answered, with the version that did and its embeddings."""

    contents: Contents
    side: Side
    embeddings: Embeddings
    version: str

    def __len__(self) -> int:
        return len(self.contents)


@dataclass(frozen=True)
class Sampled:
    """A content of the sample: its text, or its hash if it is an array, and its embeddings under both versions."""

    name: str
    served: Vector
    shadow: Vector


class Sample:
    """A fair sample of distinct contents, however often each comes: those whose hash, drawn by a seed, is lowest.

    Args:
        most: How many contents are in it at most.
        seed: Decides which.
    """

    def __init__(self, most: int, seed: int) -> None:
        self._most = most
        self._key = seed.to_bytes(8, "little")
        self._held: dict[bytes, Sampled] = {}
        self._highest: list[tuple[int, bytes]] = []  # a heap of negated draws, the highest draw first

    def add(self, digest: bytes, one: Sampled) -> None:
        """Take in a content, unless it is there already or is not drawn.

        Args:
            digest: Its hash.
            one: What is kept of it.
        """
        drawn = -int.from_bytes(hashlib.blake2b(digest, digest_size=8, key=self._key).digest())
        if digest in self._held:
            return
        if len(self._held) < self._most:
            heapq.heappush(self._highest, (drawn, digest))
        elif (drawn, digest) > self._highest[0]:
            del self._held[heapq.heapreplace(self._highest, (drawn, digest))[1]]
        else:
            return
        self._held[digest] = one

    def held(self) -> list[Sampled]:
        """Return what is in it, by hash, so that the order in which they came plays no part."""
        return [one for _, one in sorted(self._held.copy().items())]


class Shadow:
    """Embeds a share of the live traffic with a second version, and compares which contents are near each other.

    One thread does so in the background, in pieces, and rests after each for as long as that took. What comes while too
    much is waiting is dropped, and counted. Vectors of two served versions are never compared: if another one serves,
    the comparison begins anew. The sample lives in memory, and texts only as long as an example shows.

    Args:
        version: The name of the second version.
        encoder: Its encoder, which nobody else uses.
        share: Of the contents that are answered, how many it embeds, in (0, 1].
        seed: Draws them.
        most: How many distinct contents are compared at most.

    Attributes:
        version: As given.
        share: As given; may be changed.
    """

    PIECE = 8
    """Contents in one forward pass at most."""
    WAITING = 128
    """Contents that wait at most."""
    EXAMPLES = 10
    SHOWN = 200
    """Characters of a text in an example."""

    def __init__(
        self, version: str, encoder: Encoder, share: float, *, seed: int = 0, most: int = 1000
    ) -> None:
        self.version = version
        self.share = share
        self._encoder = encoder
        self._most, self._seed = most, seed
        self._random = np.random.default_rng(seed)
        self._sample = Sample(most, seed)
        self._lock = RLock()  # of the counts; never held while anything is embedded or compared
        self._counts = dict.fromkeys(("seen", "dropped", "embedded", "failed", "began_anew"), 0)
        self._against: str | None = None
        self._serves = False
        self._error = ""
        self._waiting = 0
        self._closing = Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadow")

    def hear(self, contents: Contents, side: Side, embeddings: Embeddings, version: str) -> None:
        """Take note of contents that were answered; it returns at once.

        Args:
            contents: N contents.
            side: What they were embedded as.
            embeddings: What the served version made of them, float32 (N, D).
            version: Its name.
        """
        with self._lock:
            self._serves = version == self.version
            if self._closing.is_set() or self._serves:
                return
            chosen = np.flatnonzero(self._random.random(len(contents)) < self.share)
            taken = chosen[: self.WAITING - self._waiting]
            self._counts["seen"] += len(contents)
            self._counts["dropped"] += len(chosen) - len(taken)
            self._waiting += len(taken)
            for at in range(0, len(taken), self.PIECE):
                rows = taken[at : at + self.PIECE]
                some = (
                    np.asarray(contents)[rows]
                    if isinstance(contents, np.ndarray)
                    else [contents[row] for row in rows]
                )
                piece = _Piece(some, side, embeddings[rows], version)
                done = self._thread.submit(self._embed, piece)
                done.add_done_callback(functools.partial(self._note, len(piece)))

    def _embed(self, piece: _Piece) -> None:
        if piece.version != self._against:
            with self._lock:
                self._counts["began_anew"] += self._against is not None
                self._counts["embedded"] = 0
                self._against, self._sample = piece.version, Sample(self._most, self._seed)
        began = time.monotonic()
        made = self._encoder.embed(piece.contents, batch_size=self.PIECE, side=piece.side)
        for content, served, shadow in zip(piece.contents, piece.embeddings, made, strict=True):
            digest = content_hash(content)
            name = content[: self.SHOWN] if isinstance(content, str) else digest.hex()
            with self._lock:
                # copies: rows of a piece would keep the whole of it
                self._sample.add(digest, Sampled(name, served.copy(), shadow.copy()))
        self._closing.wait(
            time.monotonic() - began
        )  # so that live requests have at least as much of the processor

    def _note(self, size: int, done: Future[None]) -> None:
        """Count a piece that is done; whatever error it ended with is told in the report and nowhere else."""
        error = None if done.cancelled() else done.exception()
        with self._lock:
            self._waiting -= size
            if error is not None:
                self._counts["failed"] += size
                self._error = f"{type(error).__name__}: {error}"
            elif not done.cancelled():
                self._counts["embedded"] += size

    def report(self) -> dict[str, Any]:
        """Return how far both versions agree so far.

        ``seen`` counts the contents that were answered, ``dropped`` those that were drawn and not embedded because too
        many waited, ``failed`` those that the shadow could not embed, and ``error`` says why the last one; ``embedded``
        and ``sampled``, all and distinct ones, count from when ``against`` began to serve; ``began_anew`` tells how often
        that changed, and ``serves`` that the shadow itself answered last. ``overlap`` is the mean share of the k nearest
        neighbours, among the sampled contents, that both versions agree on, for each k; None where there are not more
        than k neighbours. ``rank_agreement`` is the mean of Spearman's correlation of the cosines with all other
        contents. ``changed`` lists the contents whose neighbours changed most.
        """
        with self._lock:
            told: dict[str, Any] = {
                "version": self.version,
                "share": self.share,
                "against": self._against,
                **self._counts,
                "serves": self._serves,
                "error": self._error or None,
            }
            held = self._sample.held()
        return {**told, "sampled": len(held), **self._compared(held)}

    def _compared(self, held: list[Sampled]) -> dict[str, Any]:
        if not held:
            return {"overlap": {str(k): None for k in KS}, "rank_agreement": None, "changed": []}
        found = agreement(np.stack([one.served for one in held]), np.stack([one.shadow for one in held]))
        overlap = {str(k): float(found.overlap[k].mean()) if k in found.overlap else None for k in KS}

        def changed() -> Iterator[dict[str, Any]]:
            for row in found.most_changed(self.EXAMPLES):
                served, shadow = ([held[one].name for one in order[row, :3]] for order in found.nearest)
                kept = float(found.overlap[max(found.overlap)][row])
                yield {"content": held[row].name, "overlap": kept, "served": served, "shadow": shadow}

        rank = float(found.rank.mean()) if len(found.rank) else None
        return {"overlap": overlap, "rank_agreement": rank, "changed": list(changed())}

    def close(self) -> None:
        """End; what waits is given up."""
        with self._lock:
            self._closing.set()
        self._thread.shutdown(cancel_futures=True)
