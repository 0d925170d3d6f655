"""The metrics beside those of others: the same numbers where the formulas agree, and where they do not, why."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from finetuner.evaluation import Embeddings, Floats, Over, by_class, by_judgements
from finetuner.matches import MatchSet
from tests.small_matches import match_set

KS = (1, 3, 5, 10, 100)
PYTREC_EVAL = {"map": "map", "recip_rank": "mrr", "Rprec": "r_precision"} | {
    f"{theirs}_{k}": f"{ours}@{k}"
    for theirs, ours in (("success", "hit"), ("recall", "recall"), ("ndcg_cut", "ndcg"))
    for k in KS
}
RANX = {"map": "map", "mrr": "mrr", "r-precision": "r_precision"} | {
    f"{theirs}@{k}": f"{ours}@{k}"
    for theirs, ours in (("hit_rate", "hit"), ("recall", "recall"), ("ndcg", "ndcg"))
    for k in KS
}
METRIC_LEARNING = {
    "precision_at_1": "hit@1",
    "r_precision": "r_precision",
    "mean_average_precision_at_r": "map@r",
    "mean_average_precision": "map",
    "mean_reciprocal_rank": "mrr",
}

Runs = dict[str, dict[str, float]]
Grades = dict[str, dict[str, int]]

both = pytest.mark.parametrize("over", ["judged", "corpus"])
seeds = pytest.mark.parametrize("seed", range(5))


def unit(rows: int, seed: int) -> Embeddings:
    """Return random embeddings of length 1, of which no two pairs are equally far apart."""
    vectors = np.random.default_rng(seed).normal(size=(rows, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def at_random(seed: int) -> MatchSet:
    """Return 25 anchors with 20 graded judgements among 150 contents, at least one of them positive."""
    random = np.random.default_rng(seed)
    judgements = {}
    for anchor in range(25):
        others = random.permutation(np.delete(np.arange(150), anchor))[:20]
        labels = random.choice([-1, -1, 0, 1, 2, 3], 20)
        labels[0] = 1
        judgements[f"d{anchor}"] = {
            f"d{other}": float(label) for other, label in zip(others, labels, strict=True)
        }
    return match_set(judgements)


def told(matches: MatchSet, embeddings: Embeddings, over: Over) -> tuple[Grades, Runs]:
    """Return grades and cosines as others want them, by query and document."""
    grades: Grades = {}
    runs: Runs = {}
    for index, row in enumerate(matches.anchors):
        mine = slice(*matches.offsets[index : index + 2])
        name = matches.ids[row]
        judged = zip(matches.matches[mine], matches.labels[mine], strict=True)
        grades[name] = {matches.ids[match]: max(0, int(label)) for match, label in judged}
        ranked = matches.matches[mine] if over == "judged" else np.delete(np.arange(len(matches.ids)), row)
        cosine = embeddings[ranked] @ embeddings[row]
        runs[name] = {matches.ids[one]: float(value) for one, value in zip(ranked, cosine, strict=True)}
    return grades, runs


def assert_equal(ours: Mapping[str, Floats], theirs: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Check each metric of each query against a peer's."""
    for their_name, our_name in names.items():
        np.testing.assert_allclose(ours[our_name], theirs[their_name], atol=1e-6, rtol=0, err_msg=our_name)


@both
@seeds
def test_metrics_equal_those_of_trec_eval(over: Over, seed: int) -> None:
    """MAP, MRR, R-precision, hit@k, recall@k and graded nDCG@k, query by query, condensed and strict."""
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="pip install pytrec_eval-terrier")
    matches = at_random(seed)
    embeddings = unit(len(matches.ids), seed)
    grades, runs = told(matches, embeddings, over)
    wanted = {"map", "recip_rank", "Rprec"} | {
        f"{name}.{','.join(map(str, KS))}" for name in ("success", "recall", "ndcg_cut")
    }
    found = pytrec_eval.RelevanceEvaluator(grades, wanted).evaluate(runs)
    theirs = {name: [found[query][name] for query in grades] for name in PYTREC_EVAL}
    assert_equal(by_judgements(embeddings, matches, over=over, ks=KS).per_query, theirs, PYTREC_EVAL)


@both
@seeds
def test_metrics_equal_those_of_ranx(over: Over, seed: int) -> None:
    """The same against another implementation of the same formulas."""
    ranx = pytest.importorskip("ranx", reason="pip install ranx")
    matches = at_random(seed)
    embeddings = unit(len(matches.ids), seed)
    grades, runs = told(matches, embeddings, over)
    qrels, run = ranx.Qrels(grades), ranx.Run(runs)
    ranx.evaluate(qrels, run, list(RANX))
    theirs = {name: [run.scores[name][query] for query in grades] for name in RANX}
    assert_equal(by_judgements(embeddings, matches, over=over, ks=KS).per_query, theirs, RANX)


@seeds
def test_metrics_by_class_equal_those_of_pytorch_metric_learning(seed: int) -> None:
    """Each item as a query over all others, with classes of very different sizes; the means agree."""
    accuracy = pytest.importorskip(
        "pytorch_metric_learning.utils.accuracy_calculator", reason="pip install pytorch-metric-learning"
    )
    embeddings = unit(120, seed)
    classes = np.minimum(np.random.default_rng(seed).geometric(0.3, 120), 8)
    calculator = accuracy.AccuracyCalculator(include=tuple(METRIC_LEARNING), k=None)
    theirs = calculator.get_accuracy(torch.from_numpy(embeddings), torch.from_numpy(classes))
    ours = by_class(embeddings, classes).mean()
    assert {theirs[name] for name in METRIC_LEARNING} != {0}
    for name, our_name in METRIC_LEARNING.items():
        assert ours[our_name] == pytest.approx(theirs[name], abs=1e-6), our_name


@seeds
def test_a_gain_that_grows_as_a_power_is_a_matter_of_labels(seed: int) -> None:
    """Others let the gain be 2^label - 1; who wants that gives it as the label, and gets the same numbers."""
    ranx = pytest.importorskip("ranx", reason="pip install ranx")
    matches = at_random(seed)
    embeddings = unit(len(matches.ids), seed)
    grades, runs = told(matches, embeddings, "corpus")
    qrels, run = ranx.Qrels(grades), ranx.Run(runs)
    ranx.evaluate(qrels, run, ["ndcg_burges@10"])
    powers = match_set(
        {
            query: {match: 2.0 ** max(0, grade) - 1 for match, grade in judged.items()}
            for query, judged in grades.items()
        }
    )
    assert powers.ids == matches.ids
    ours = by_judgements(embeddings, powers, over="corpus").per_query["ndcg@10"]
    theirs = [run.scores["ndcg_burges@10"][query] for query in grades]
    np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=0)


def test_at_equal_distance_trec_eval_goes_by_names_and_ours_by_the_worst_order() -> None:
    """Two documents at one distance: there the later name comes first, here what is irrelevant."""
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="pip install pytrec_eval-terrier")
    tied = {"q": {"a": 0.5, "z": 0.5}}
    for relevant, theirs in (("z", 1.0), ("a", 0.5)):
        grades = {"q": {name: int(name == relevant) for name in ("a", "z")}}
        found = pytrec_eval.RelevanceEvaluator(grades, {"recip_rank"}).evaluate(tied)
        assert found["q"]["recip_rank"] == theirs
        labels = {name: 1.0 if name == relevant else -1.0 for name in ("a", "z")}
        same = np.tile(np.array([[1, 0]], np.float32), (3, 1))
        assert by_judgements(same, match_set({"q": labels}), over="judged").mean()["mrr"] == 0.5


def test_queries_without_anything_relevant_are_zeros_in_trec_eval_and_left_out_of_ours() -> None:
    """So a mean of theirs over all queries is lower; ours says how many it is about."""
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="pip install pytrec_eval-terrier")
    found = pytrec_eval.RelevanceEvaluator({"q": {"a": 0, "b": 0}}, {"map"}).evaluate(
        {"q": {"a": 0.5, "b": 0.4}}
    )
    assert found["q"]["map"] == 0
    metrics = by_judgements(unit(3, 0), match_set({"q": {"a": -1.0, "b": -1.0}}), over="judged")
    assert (metrics.queries, metrics.excluded) == (0, 1)
