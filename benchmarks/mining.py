"""Mining hard negatives, side by side with sentence-transformers' ``mine_hard_negatives`` and a bare faiss search.

100,000 contents of 384 numbers in clusters, each of them an anchor with one positive out of its cluster; five negatives of
each, with the guard of 95 %. sentence-transformers gets the embeddings from a model that has them ready, so its time is
that of mining alone, without even reading its cache. Faiss searches the five nearest and does nothing else. The size can be
changed by ``SIZE``.
"""

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.util import dot_score, mine_hard_negatives, pairwise_dot_score

from datasets import Dataset  # type: ignore[attr-defined]
from finetuner.matches import Findings, MatchSet, Rows
from finetuner.mining import Mined, mine
from finetuner.nearest import Embeddings

SIZE = 100_000
DIMENSION = 384
CLUSTER = 20  # contents
COUNT = 5
GUARD = 0.95
ROUNDS = 3  # of ours and faiss; sentence-transformers takes part in the first only

Work = Callable[[], object]


class Ready:
    """A model for sentence-transformers whose embeddings are there: the text is the row."""

    device = torch.device("cpu")
    model_card_data = SimpleNamespace(base_model="ready")
    similarity = staticmethod(dot_score)
    similarity_pairwise = staticmethod(pairwise_dot_score)

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings

    def encode_query(self, texts: list[str], **_: object) -> Embeddings:
        """Return the embeddings of texts."""
        return self._embeddings[np.array(texts, dtype=np.int64)]

    encode_document = encode_query

    def get_embedding_dimension(self) -> int:
        """Return D."""
        return self._embeddings.shape[1]


def main() -> None:
    """Compare what is mined, then measure in turns, and print the figures."""
    embeddings, partner = clustered(SIZE)
    matches = match_set(partner)
    index = faiss.IndexFlatIP(DIMENSION)
    index.add(embeddings)
    model, pairs = Ready(embeddings), {"anchor": names(np.arange(SIZE)), "positive": names(partner)}
    dataset = Dataset.from_dict(pairs)
    works: dict[str, Work] = {
        "ours": lambda: ours(embeddings, matches),
        "faiss": lambda: index.search(embeddings, COUNT),
        "sentence-transformers": lambda: theirs(dataset, model, use_faiss=False),
        "sentence-transformers, faiss": lambda: theirs(dataset, model, use_faiss=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    made: dict[str, object] = {}
    for number in range(ROUNDS):
        for name in [one for one in works if number == 0 or not one.startswith("sentence")]:
            gc.collect()
            started = time.perf_counter()
            made[name] = works[name]()
            seconds[name].append(time.perf_counter() - started)
            sys.stderr.write(f"{name}: {seconds[name][-1]:.2f} s\n")
    agree = agreement(made["ours"], made["sentence-transformers"], embeddings, partner)
    print_table(seconds, agree)
    print(json.dumps(summary(seconds, agree)))


def clustered(size: int) -> tuple[Embeddings, Rows]:
    """Return embeddings in clusters, and for each the row of another one of its cluster, which has it in turn."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((size // CLUSTER, DIMENSION), dtype=np.float32)
    cluster = random.permutation(np.arange(size) // CLUSTER)
    vectors = centres[cluster] + random.standard_normal((size, DIMENSION), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = np.argsort(cluster, kind="stable").reshape(-1, 2)
    partner = np.empty(size, np.int64)
    partner[pairs[:, 0]], partner[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
    return vectors, partner


def match_set(partner: Rows) -> MatchSet:
    """Return match data in which each content is an anchor, and its partner is its positive."""
    rows, ones = np.arange(len(partner)), np.ones(len(partner), np.float32)
    return MatchSet(
        contents=names(rows),
        ids=names(rows),
        hashes=np.zeros((len(rows), 16), np.uint8),
        anchors=rows,
        offsets=np.arange(len(rows) + 1),
        matches=partner,
        labels=ones,
        weights=ones,
        findings=Findings(),
    )


def names(rows: Rows) -> list[str]:
    """Return rows as texts."""
    return [str(row) for row in rows.tolist()]


def ours(embeddings: Embeddings, matches: MatchSet) -> Mined:
    """Mine, and make judgements of what was mined."""
    mined = mine(embeddings, embeddings, matches, count=COUNT, guard=GUARD)
    mined.with_negatives(matches)
    return mined


def theirs(dataset: Dataset, model: Ready, *, use_faiss: bool) -> Dataset:
    """Mine with sentence-transformers, into triplets as it does by default."""
    return mine_hard_negatives(
        dataset,
        model,
        num_negatives=COUNT,
        relative_margin=1 - GUARD,
        use_faiss=use_faiss,
        verbose=False,
    )


def agreement(mined: object, other: object, embeddings: Embeddings, partner: Rows) -> dict[str, float]:
    """Return how far both mined the same, anchor by anchor; in order, since both give the nearest first.

    Where the first row that differs is as near in both, or as near as the guard allows, rounding decides, and moves what
    comes behind it; anything else ends the benchmark.
    """
    assert isinstance(mined, Mined)
    assert isinstance(other, Dataset)
    anchors = np.array(other["anchor"], dtype=np.int64)
    rows: NDArray[np.int64] = np.full_like(mined.rows, -1)
    place = np.arange(len(anchors)) - np.searchsorted(anchors, anchors)
    rows[anchors, place] = np.array(other["negative"], dtype=np.int64)
    differ = np.flatnonzero((rows != mined.rows).any(axis=1))
    first = (rows != mined.rows)[differ].argmax(axis=1)
    bound = GUARD * cosines(embeddings, differ, partner[differ])
    nearer = [cosines(embeddings, differ, found[differ, first]) for found in (rows, mined.rows)]
    unlike = np.minimum(np.abs(nearer[0] - nearer[1]), np.abs(np.maximum(*nearer) - bound))
    if unlike.max(initial=0) > 1e-6:
        raise SystemExit(
            f"anchor {differ[unlike.argmax()]}: the rows differ, and the cosines by {unlike.max()}"
        )
    return {
        "mined": mined.found,
        "same": round(float((rows == mined.rows).mean()), 6),
        "anchors_that_differ_by_rounding": len(differ),
    }


def cosines(embeddings: Embeddings, left: Rows, right: Rows) -> NDArray[np.float64]:
    """Return the cosine of each pair of rows."""
    return np.einsum("nd,nd->n", embeddings[left].astype(np.float64), embeddings[right].astype(np.float64))


def print_table(seconds: dict[str, list[float]], agree: dict[str, float]) -> None:
    """Print what agrees, and medians with the least and the most."""
    for what, figure in agree.items():
        print(f"{what}: {figure:g}")
    for name, taken in seconds.items():
        print(
            f"{name:<30}{statistics.median(taken):>9.2f} s  ({min(taken):.2f} to {max(taken):.2f}, {len(taken)} rounds)"
        )


def summary(seconds: dict[str, list[float]], agree: dict[str, float]) -> dict[str, object]:
    """Return the figures of the last line; a ratio above 1 means that ours is faster."""
    median = {name: statistics.median(taken) for name, taken in seconds.items()}
    return {
        "benchmark": "mining",
        "vs_sentence_transformers": round(median["sentence-transformers"] / median["ours"], 3),
        "vs_sentence_transformers_faiss": round(median["sentence-transformers, faiss"] / median["ours"], 3),
        "vs_faiss": round(median["faiss"] / median["ours"], 3),
        "seconds": {name: [round(one, 2) for one in taken] for name, taken in seconds.items()},
        "agreement": agree,
    }


if __name__ == "__main__":
    main()
