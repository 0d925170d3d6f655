"""The metrics of 20,000 queries, side by side with pytorch-metric-learning and sentence-transformers.

Class labels: 20,000 items of 128 numbers. ``AccuracyCalculator`` computes five of our metrics if it ranks everything,
k = None; in one call that would take more than 20 GB, so it is called for 4,000 queries at a time, and once. Three of them it
computes with k = "max_bin_count" as well, which is less work; ours are always all metrics. Judgements: 20,000 queries over
40,000 documents, of which ``InformationRetrievalEvaluator`` gets the embeddings ready and keeps the first hundred.
"""

import gc
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.util import dot_score

from finetuner.evaluation import Metrics, by_class, by_judgements
from finetuner.matches import Findings, MatchSet, Rows
from finetuner.nearest import Embeddings

QUERIES = 20_000
PEER_QUERIES = 4_000  # of one call of AccuracyCalculator that ranks everything
DIMENSION = 128
TOPIC = 8  # documents, and queries
ROUNDS = 5

PML = {
    "precision_at_1": "hit@1",
    "r_precision": "r_precision",
    "mean_average_precision_at_r": "map@r",
    "mean_average_precision": "map",
    "mean_reciprocal_rank": "mrr",
}
IR = {
    ("accuracy@k", 1): "hit@1",
    ("accuracy@k", 5): "hit@5",
    ("accuracy@k", 10): "hit@10",
    ("recall@k", 1): "recall@1",
    ("recall@k", 5): "recall@5",
    ("recall@k", 10): "recall@10",
    ("mrr@k", 10): "mrr",
    ("ndcg@k", 10): "ndcg@10",
    ("map@k", 100): "map",
}

Measured = tuple[list[float], list[float], float]
"""Seconds of ours, seconds of the peer, and the largest difference of a metric that both compute."""


def main() -> None:
    """Compare the metrics, measure in turns, and print the figures."""
    told = {
        "pml": measured(*classes(10, None), rounds=1),
        "pml_three_metrics_10_classes": measured(*classes(10, "max_bin_count")),
        "pml_three_metrics_200_classes": measured(*classes(200, "max_bin_count")),
        "sentence_transformers": measured(*judgements()),
    }
    print(f"{'what':<32}{'ours s':>9}{'peer s':>9}{'ratio':>8}  least and most    largest difference")
    for name, (ours, peer, difference) in told.items():
        ratios = [b / a for a, b in zip(ours, peer, strict=True)]
        print(
            f"{name:<32}{statistics.median(ours):>9.3f}{statistics.median(peer):>9.3f}{ratio(ours, peer):>8.2f}"
            f"  {min(ratios):.2f} to {max(ratios):.2f}      {difference:.1e}"
        )
    print(json.dumps(summary(told)))


Work = Callable[[], dict[str, float]]


def measured(ours: Work, peer: Work, *, rounds: int = ROUNDS) -> Measured:
    """Run both in turns; refuse to go on if a metric that both compute differs by more than 1e-6."""
    taken: tuple[list[float], list[float]] = [], []
    for number in range(rounds + (rounds > 1)):
        found: list[dict[str, float]] = []
        for seconds, work in zip(taken, (ours, peer), strict=True):
            gc.collect()
            started = time.perf_counter()
            found.append(work())
            if number or rounds == 1:  # else the first round warms up
                seconds.append(time.perf_counter() - started)
    difference = max(abs(found[0][name] - value) for name, value in found[1].items())
    if not difference < 1e-6:
        raise SystemExit(f"{found[0]} is ours, and the peer's is {found[1]}")
    return *taken, difference


def classes(number: int, k: str | None) -> tuple[Work, Work]:
    """Return both works on items with class labels."""
    random = np.random.default_rng(0)
    label = random.integers(number, size=QUERIES)
    centres = random.standard_normal((number, DIMENSION))
    embeddings = unit(0.5 * centres[label] + random.standard_normal((QUERIES, DIMENSION)))
    include = tuple(PML) if k is None else tuple(PML)[:3]
    calculator = AccuracyCalculator(include=include, k=k, device=torch.device("cpu"))

    def ours() -> dict[str, float]:
        return by_class(embeddings, label).mean()

    def peer() -> dict[str, float]:
        size = PEER_QUERIES if k is None else QUERIES
        calls = []
        for start in range(0, QUERIES, size):
            order = np.roll(np.arange(QUERIES), -start)  # the queries have to be the first of what is ranked
            asked = (embeddings[order[:size]], label[order[:size]], embeddings[order], label[order])
            calls.append(calculator.get_accuracy(*asked, ref_includes_query=True))
        return {
            name: statistics.mean(call[theirs] for call in calls)
            for theirs, name in PML.items()
            if theirs in include
        }

    return ours, peer


def judgements() -> tuple[Work, Work]:
    """Return both works on queries with one to three relevant documents among those of their topic.

    The queries are contents as well, at a right angle to all that asks: so both rank the same 40,000 contents, and
    that ours leaves out the query itself changes no metric. All that is relevant is among the first eight; so MRR
    and MRR@10 are equal, and MAP and MAP@100.
    """
    random = np.random.default_rng(0)
    topics = random.standard_normal((QUERIES // TOPIC, DIMENSION))
    topic = np.repeat(np.arange(len(topics)), TOPIC)
    asking, documents = (
        unit(topics[topic] + 0.5 * random.standard_normal((QUERIES, DIMENSION))) for _ in range(2)
    )
    aside = np.zeros((QUERIES, 1), np.float32)
    queries = np.hstack([asking, aside])
    contents = np.vstack([np.hstack([0 * asking, aside + 1]), np.hstack([documents, aside])])
    counts = random.integers(1, 4, QUERIES)
    picks = np.argsort(random.random((QUERIES, TOPIC)), axis=1)
    rows = QUERIES + (topic * TOPIC)[:, None] + picks  # (Q, 8), of which the first few are relevant
    taken = np.arange(TOPIC) < counts[:, None]
    matches = match_set(len(contents), np.append(0, np.cumsum(counts)), rows[taken])
    evaluator = InformationRetrievalEvaluator(
        queries={f"q{row}": str(row) for row in range(QUERIES)},
        corpus={str(row): str(row) for row in range(len(contents))},
        relevant_docs={
            f"q{row}": set(map(str, own[:count]))
            for row, (own, count) in enumerate(zip(rows.tolist(), counts.tolist(), strict=True))
        },
        accuracy_at_k=[1, 5, 10],
        precision_recall_at_k=[1, 5, 10],
        score_functions={"dot": dot_score},
    )

    def ours() -> dict[str, float]:
        metrics: Metrics = by_judgements(contents, matches, over="corpus", queries=queries)
        return metrics.mean()

    def peer() -> dict[str, float]:
        model: Any = Ready(queries)
        found = evaluator.compute_all_metrics(model, corpus_embeddings=torch.from_numpy(contents))["dot"]
        return {name: float(found[metric][k]) for (metric, k), name in IR.items()}

    return ours, peer


class Ready:
    """A model for sentence-transformers whose embeddings are there."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = torch.from_numpy(embeddings)

    def encode_query(self, texts: list[str], **_: object) -> torch.Tensor:
        """Return the embeddings of all queries."""
        assert len(texts) == len(self._embeddings)
        return self._embeddings


def match_set(contents: int, offsets: Rows, matches: Rows) -> MatchSet:
    """Return match data with a label of 1 for each judgement; the first contents are the anchors."""
    names, ones = [str(row) for row in range(contents)], np.ones(len(matches), np.float32)
    return MatchSet(
        contents=names,
        ids=names,
        hashes=np.zeros((contents, 16), np.uint8),
        anchors=np.arange(len(offsets) - 1),
        offsets=offsets,
        matches=matches,
        labels=ones,
        weights=ones,
        findings=Findings(),
    )


def unit(vectors: np.ndarray[Any, np.dtype[np.float64]]) -> Embeddings:
    """Return vectors with length 1."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def ratio(ours: list[float], peer: list[float]) -> float:
    """Return how many times faster ours is, by medians."""
    return statistics.median(peer) / statistics.median(ours)


def summary(told: Mapping[str, Measured]) -> dict[str, Any]:
    """Return the figures of the last line; a ratio above 1 means that ours is faster."""
    ratios = {name: round(ratio(ours, peer), 3) for name, (ours, peer, _) in told.items()}
    assert all(math.isfinite(one) for one in ratios.values())
    return {
        "benchmark": "metrics",
        "vs_pml": ratios["pml"],
        "vs_sentence_transformers": ratios["sentence_transformers"],
        "ratios": ratios,
        "seconds": {
            name: {"ours": [round(one, 3) for one in ours], "peer": [round(one, 3) for one in peer]}
            for name, (ours, peer, _) in told.items()
        },
        "largest_difference": {name: difference for name, (_, _, difference) in told.items()},
    }


if __name__ == "__main__":
    main()
