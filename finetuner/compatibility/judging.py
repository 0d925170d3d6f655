"""What a map keeps: how near the documents that mapped queries find are to them in the new space."""

import numpy as np

from finetuner.compatibility.maps import Layers, mapped
from finetuner.compatibility.searching import nearest_others
from finetuner.compatibility.stamped import Embeddings, normalised

_NEIGHBOURS = 10


class Judge:
    """Contents that no map was fitted to: they ask, and are what is found.

    Args:
        old: Their embeddings in the old space, float32 (N, D0).
        new: Their embeddings in the new space, float32 (N, D1).
    """

    def __init__(self, old: Embeddings, new: Embeddings) -> None:
        self._old, self._new = old, new
        self._rows = np.arange(len(old))
        self._neighbours = max(1, min(_NEIGHBOURS, len(old) // 4))
        self._cosines = new @ new.T
        count = len(new)
        self._any = float(
            (self._cosines.sum(dtype=np.float64) - np.trace(self._cosines)) / (count**2 - count)
        )
        self._best, self._closeness = self._found(new, new)

    @property
    def neighbours(self) -> int:
        """How many documents each content looks for."""
        return self._neighbours

    def references(self) -> dict[str, float]:
        """Return what asking in the old space keeps, and where the dimensions are equal what asking unmapped does."""
        asking = {"old": self._old}
        if self._old.shape[1] == self._new.shape[1]:
            asking["unmapped"] = self._new
        return {name: self._kept(self._found(queries, self._old)[0]) for name, queries in asking.items()}

    def judge(self, linear: Embeddings, layers: Layers | None) -> tuple[float, float]:
        """Return what a map keeps, and its shift: see ``Figures.kept`` and ``Map.shift``."""
        near, closeness = self._found(normalised(mapped(self._new, linear, layers)), self._old)
        return self._kept(near), self._closeness - closeness

    def _kept(self, near: float) -> float:
        room = self._best - self._any
        return (near - self._any) / room if room > 1e-6 else 1.0

    def _found(self, queries: Embeddings, documents: Embeddings) -> tuple[float, float]:
        """Return mean cosines of queries with what they find: in the new space, and in that in which they ask."""
        found = nearest_others(queries, documents, self._neighbours, self._rows)
        return float(np.take_along_axis(self._cosines, found.rows, 1).mean()), float(found.cosine.mean())
