"""The metrics: hand-computed values, a loop over the formulas, and what must never change a metric."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from finetuner import evaluation, ranks
from finetuner.errors import EncoderError, OptionError
from finetuner.evaluation import (
    Embeddings,
    Floats,
    Over,
    by_class,
    by_judgements,
    paired_difference,
    rank_metrics,
)
from finetuner.matches import MatchSet
from tests.small_matches import match_set

both = pytest.mark.parametrize("over", ["judged", "corpus"])


def at_random(anchors: int = 12, contents: int = 40, matches: int = 8, seed: int = 0) -> MatchSet:
    """Return random graded judgements; some anchors have no positive."""
    random = np.random.default_rng(seed)
    return match_set(
        {
            str(anchor): {
                str(match): float(random.choice([-1, -1, 0, 1, 2, 3] if anchor % 4 else [-1, 0]))
                for match in random.choice(contents, matches, replace=False)
                if match != anchor
            }
            for anchor in range(anchors)
        }
    )


def unit(rows: int, dimension: int = 8, seed: int = 0) -> Embeddings:
    """Return random embeddings of length 1."""
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def loop(
    gains: Sequence[float], relevant: int, ideal: Sequence[float], ks: Sequence[int]
) -> dict[str, float]:
    """Every metric of one ranking, written from its formula."""
    rel = [gain > 0 for gain in gains]

    def precision(i: int) -> float:
        return sum(rel[:i]) / i

    def dcg(values: Sequence[float], k: int) -> float:
        return sum(max(value, 0) / math.log2(i + 1) for i, value in enumerate(values[:k], 1))

    ranks = [i for i in range(1, len(rel) + 1) if rel[i - 1]]
    metrics = {
        "mrr": 1 / ranks[0] if ranks else 0.0,
        "map": sum(precision(i) for i in ranks) / relevant,
        "map@r": sum(precision(i) for i in ranks if i <= relevant) / relevant,
        "r_precision": sum(rel[:relevant]) / relevant,
    }
    for k in ks:
        metrics[f"hit@{k}"] = float(any(rel[:k]))
        metrics[f"recall@{k}"] = sum(rel[:k]) / relevant
        metrics[f"ndcg@{k}"] = dcg(gains, k) / dcg(ideal, k)
    return metrics


def assert_equal(metrics: evaluation.Metrics, expected: Sequence[Mapping[str, float]]) -> None:
    """Check each metric of each query against dictionaries."""
    assert metrics.queries == len(expected)
    assert set(metrics.per_query) == set(expected[0])
    for name, values in metrics.per_query.items():
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, [one[name] for one in expected], atol=1e-12, err_msg=name)


def test_metrics_of_relevant_documents_at_ranks_two_and_three() -> None:
    """The formulas, by hand: P(2) = 1/2, P(3) = 2/3, R = 2."""
    metrics = rank_metrics(np.array([[0.0, 1, 1, 0]]), np.array([2]), ks=(1, 2, 4))
    best = 1 + 1 / math.log2(3)
    assert metrics.mean() == pytest.approx(
        {
            "mrr": 1 / 2,
            "map": (1 / 2 + 2 / 3) / 2,
            "map@r": (1 / 2) / 2,
            "r_precision": 1 / 2,
            "hit@1": 0,
            "hit@2": 1,
            "hit@4": 1,
            "recall@1": 0,
            "recall@2": 1 / 2,
            "recall@4": 1,
            "ndcg@1": 0,
            "ndcg@2": (1 / math.log2(3)) / best,
            "ndcg@4": (1 / math.log2(3) + 1 / 2) / best,
        }
    )


def test_gain_is_the_label_itself() -> None:
    """Labels 1 and 3 in the wrong order: nDCG is (1 + 3 / log2 3) / (3 + 1 / log2 3), not 2^label - 1."""
    metrics = rank_metrics(np.array([[1.0, 3]]), np.array([2]), ks=(2,))
    assert metrics.mean()["ndcg@2"] == pytest.approx((1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3)))


@pytest.mark.parametrize("seed", range(5))
def test_rankings_equal_the_loop_over_the_formulas(seed: int) -> None:
    """Random graded rankings give, query by query, what the formulas give."""
    random = np.random.default_rng(seed)
    gains = random.choice([0.0, 0.0, 0.5, 1, 2, -1], size=(30, 20))
    gains[:, 3] = 1
    relevant = (gains > 0).sum(axis=1)
    expected = [
        loop(row, r, sorted(row, reverse=True), (1, 3, 50)) for row, r in zip(gains, relevant, strict=True)
    ]
    assert_equal(rank_metrics(gains, relevant, ks=(1, 3, 50)), expected)


@pytest.mark.parametrize("padding", [0.0, math.nan, -math.inf])
def test_padding_changes_nothing(padding: float) -> None:
    """A ranking that is filled up to the length of others keeps its metrics."""
    short = rank_metrics(np.array([[0.0, 2, 0, 1]]), np.array([2]))
    padded = rank_metrics(np.array([[0.0, 2, 0, 1, padding, padding]]), np.array([2]))
    assert padded.mean() == short.mean()


def test_a_ranking_that_was_cut_counts_what_it_misses() -> None:
    """Two of four relevant documents are ranked: recall, MAP and nDCG are measured against all four."""
    gains = np.array([[0.0, 0, 0], [0, 1, 2]])
    metrics = rank_metrics(
        gains, np.array([0, 4]), ideal=np.array([[0.0, 0, 0, 0], [3, 2, 1, 1]]), ks=(3, 10)
    )
    assert_equal(metrics, [loop([0, 1, 2], 4, [3, 2, 1, 1], (3, 10))])


@pytest.mark.parametrize("relevant", [1, 3])
def test_counts_that_do_not_fit_the_ranking_are_refused(relevant: int) -> None:
    """Fewer relevant documents than are ranked, or more of unknown gain, would give wrong numbers."""
    with pytest.raises(OptionError, match=f"query 1: num_relevant={relevant}, ranked are 2"):
        rank_metrics(np.array([[1.0, 0], [1, 1]]), np.array([1, relevant]))


def test_a_ranking_without_any_hit_scores_zero() -> None:
    """If the relevant document is not ranked at all, every metric is 0 and none is NaN."""
    metrics = rank_metrics(np.zeros((1, 3)), np.array([1]), ideal=np.array([[1.0]]))
    assert set(metrics.mean().values()) == {0}


def test_queries_without_a_relevant_document_are_excluded_and_counted() -> None:
    """They neither raise nor lower a mean."""
    metrics = rank_metrics(np.array([[1.0, 0], [0, 0], [0, 0]]), np.array([1, 0, 0]))
    assert (metrics.queries, metrics.excluded) == (1, 2)
    assert set(metrics.mean().values()) == {1}


@pytest.mark.parametrize("cells", [1, 100, 1 << 21])
def test_by_class_equals_the_loop_over_sorted_neighbours(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    """Each item against all others, whatever the block size; singletons are excluded."""
    monkeypatch.setattr(ranks, "_BLOCK", cells)
    monkeypatch.setattr(ranks, "_PART", cells // 3)
    embeddings, classes = unit(40), np.array(["a", "b", "c", "d"])[np.arange(40) % 3]
    classes[5] = "z"
    expected = []
    for query in np.delete(np.arange(40), 5):
        others = np.delete(np.arange(40), query)
        order = others[np.argsort(1 - embeddings[others] @ embeddings[query])]
        same = (classes[order] == classes[query]).astype(float)
        expected.append(loop(same, int(same.sum()), sorted(same, reverse=True), (1, 5, 10)))
    metrics = by_class(embeddings, classes)
    assert_equal(metrics, expected)
    assert metrics.excluded == 1


@both
@pytest.mark.parametrize("cells", [1, 300, 1 << 21])
def test_by_judgements_equals_the_loop_over_sorted_candidates(
    monkeypatch: pytest.MonkeyPatch, cells: int, over: Over
) -> None:
    """Labels above 0 are gains; what is unjudged is left out, or irrelevant; the anchor is not ranked."""
    monkeypatch.setattr(evaluation, "_CELLS", cells)
    monkeypatch.setattr(ranks, "_BLOCK", cells)
    monkeypatch.setattr(ranks, "_PART", cells // 3)
    matches = at_random()
    embeddings = unit(len(matches.ids))
    expected = []
    for index, anchor in enumerate(matches.anchors):
        mine = slice(*matches.offsets[index : index + 2])
        label = dict(zip(matches.matches[mine].tolist(), matches.labels[mine].tolist(), strict=True))
        candidates = list(label) if over == "judged" else [r for r in range(len(embeddings)) if r != anchor]
        order = np.argsort(1 - embeddings[candidates] @ embeddings[anchor])
        gains = [label.get(candidates[place], 0.0) for place in order]
        relevant = sum(gain > 0 for gain in gains)
        if relevant:
            expected.append(loop(gains, relevant, sorted(gains, reverse=True), (1, 5, 10)))
    metrics = by_judgements(embeddings, matches, over=over)
    assert_equal(metrics, expected)
    assert metrics.excluded == len(matches) - len(expected) > 0


def test_corpus_is_stricter_than_judged() -> None:
    """An unjudged content before the positive costs a rank in the corpus, and none among the judged."""
    matches = match_set({"q": {"p": 1.0, "n": -1.0}, "unjudged": {}})
    embeddings = np.array([[1, 0], [0.6, 0.8], [-1, 0], [0.8, 0.6]], dtype=np.float32)
    assert by_judgements(embeddings, matches, over="judged").mean()["mrr"] == 1
    assert by_judgements(embeddings, matches, over="corpus").mean()["mrr"] == 1 / 2


@both
def test_a_collapsed_encoder_gains_nothing_from_the_order_of_rows(over: Over) -> None:
    """With all embeddings equal the positive, though written down first, comes last: ties count as worst."""
    matches = match_set({"q": {"p": 1.0, "n1": -1.0, "n2": -1.0}})
    collapsed = np.tile(np.array([[1, 0]], dtype=np.float32), (4, 1))
    assert by_judgements(collapsed, matches, over=over).mean()["mrr"] == pytest.approx(1 / 3)


@both
def test_equal_distance_puts_the_lower_gain_first(over: Over) -> None:
    """Among positives at one distance the order is the one with the lowest nDCG."""
    matches = match_set({"q": {"high": 3.0, "low": 1.0}})
    embeddings = np.array([[1, 0], [0.6, 0.8], [0.6, 0.8]], dtype=np.float32)
    expected = (1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3))
    assert by_judgements(embeddings, matches, over=over, ks=(2,)).mean()["ndcg@2"] == pytest.approx(expected)


def test_order_of_items_does_not_matter_even_with_duplicates() -> None:
    """Shuffling items shuffles the queries' values and changes none, though many distances are equal."""
    random = np.random.default_rng(0)
    embeddings = np.eye(4, dtype=np.float32)[random.integers(4, size=50)]
    classes, order = random.integers(3, size=50), random.permutation(50)
    shuffled = by_class(embeddings[order], classes[order]).per_query
    for name, values in by_class(embeddings, classes).per_query.items():
        np.testing.assert_allclose(shuffled[name], values[order], err_msg=name)


def test_rotation_of_the_space_does_not_matter() -> None:
    """Only angles count: an orthogonal map of all embeddings changes no metric."""
    embeddings, classes = unit(60), np.arange(60) % 4
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))
    rotated = (embeddings @ rotation).astype(np.float32)
    assert by_class(rotated, classes).mean() == pytest.approx(by_class(embeddings, classes).mean())


def test_perfect_classes_score_one_and_opposed_ones_zero() -> None:
    """With each class on a point of its own all is found; with other classes as neighbours nothing is."""
    points = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
    perfect = by_class(points, np.array([0, 0, 1, 1]), ks=(1,)).mean()
    assert set(perfect.values()) == {1}
    opposed = by_class(points, np.array([0, 1, 0, 1]), ks=(1,)).mean()
    assert {opposed[name] for name in ("hit@1", "recall@1", "ndcg@1", "map@r", "r_precision")} == {0}


def test_one_class_is_always_right_and_all_classes_never_asked() -> None:
    """If everything is relevant every metric is 1; if nothing is, no query is left and means are NaN."""
    embeddings = unit(6)
    assert by_class(embeddings, np.zeros(6), ks=(5,)).mean() == pytest.approx(
        dict.fromkeys(("mrr", "map", "map@r", "r_precision", "hit@5", "recall@5", "ndcg@5"), 1)
    )
    nothing = by_class(embeddings, np.arange(6), ks=(5,))
    assert (nothing.queries, nothing.excluded) == (0, 6)
    assert all(math.isnan(value) for value in nothing.mean().values())


@pytest.mark.parametrize("items", [0, 1])
def test_nothing_to_compare_is_no_query(items: int) -> None:
    """No item, or a single one, gives empty metrics and no error."""
    metrics = by_class(unit(items), np.zeros(items))
    assert (metrics.queries, metrics.excluded, len(metrics.per_query["map"])) == (0, items, 0)


@both
def test_anchors_without_positives_leave_no_query(over: Over) -> None:
    """Judgements that are all negative give empty metrics and count the anchors as excluded."""
    metrics = by_judgements(unit(3), match_set({"q": {"m": -1.0}, "r": {}}), over=over)
    assert (metrics.queries, metrics.excluded) == (0, 2)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 2.0])
def test_embeddings_that_cannot_be_ranked_are_refused_by_row(bad: float) -> None:
    """NaN, infinity or a missing normalisation would give plausible wrong numbers."""
    embeddings = unit(4)
    embeddings[2, 0] = bad
    with pytest.raises(EncoderError, match="embedding 2 has the length"):
        by_class(embeddings, np.zeros(4))
    with pytest.raises(EncoderError, match="embedding 2 has the length"):
        by_judgements(embeddings, match_set({"a": {"b": 1.0}, "c": {"d": 1.0}}), over="corpus")


def test_embeddings_of_something_else_are_refused() -> None:
    """The number of embeddings must be that of the contents or classes."""
    with pytest.raises(OptionError, match=r"\(3, 8\): give one row for each of the 2 contents"):
        by_judgements(unit(3), match_set({"q": {"m": 1.0}}), over="judged")
    with pytest.raises(OptionError, match="each of the 4 classes"):
        by_class(unit(3), np.zeros(4))


@pytest.mark.parametrize("ks", [(), (0, 5)])
def test_ranks_to_cut_at_must_be_given_from_one(ks: Sequence[int]) -> None:
    """No rank, or rank 0, is refused instead of dividing by zero."""
    with pytest.raises(OptionError, match="ks is"):
        by_class(unit(4), np.zeros(4), ks=ks)


def test_unknown_candidates_are_refused() -> None:
    """A misspelt ``over`` does not silently mean the corpus."""
    with pytest.raises(OptionError, match="over is 'all'; accepted are 'judged' and 'corpus'"):
        by_judgements(unit(2), match_set({"q": {"m": 1.0}}), over="all")  # type: ignore[arg-type]


def paired(queries: int = 400) -> tuple[Floats, Floats]:
    """Return two systems of which the first is better by 0.1, on queries of very different difficulty."""
    random = np.random.default_rng(0)
    difficulty = random.normal(size=queries)
    return difficulty + 0.1 + 0.2 * random.normal(size=queries), difficulty


def test_bootstrap_interval_is_the_normal_one_for_many_queries() -> None:
    """By the central limit theorem it is mean -+ 1.96 standard errors of the paired differences."""
    a, b = paired()
    mean, low, high = paired_difference(a, b, seed=0, resamples=4000)
    error = (a - b).std() / math.sqrt(len(a))
    assert mean == pytest.approx((a - b).mean())
    assert low == pytest.approx(mean - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.1 * error)


def test_bootstrap_is_decided_by_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed gives the same interval, however much fits into memory at once; another gives another."""
    a, b = paired()
    first = paired_difference(a, b, seed=1)
    assert first != paired_difference(a, b, seed=2)
    monkeypatch.setattr(evaluation, "_CELLS", 1000)
    assert first == paired_difference(a, b, seed=1)


def test_more_confidence_is_a_wider_interval() -> None:
    """99 % reaches further on both sides than 80 %."""
    a, b = paired()
    _, low, high = paired_difference(a, b, seed=0, confidence=0.8)
    _, lower, higher = paired_difference(a, b, seed=0, confidence=0.99)
    assert lower < low < high < higher


def test_equal_systems_do_not_differ() -> None:
    """Without any difference, even of a single query, the interval is the point 0."""
    assert paired_difference(np.ones(1), np.ones(1), seed=0) == (0, 0, 0)


@pytest.mark.parametrize(("a", "b"), [(3, 4), (0, 0)])
def test_differences_need_pairs(a: int, b: int) -> None:
    """Arrays of other lengths, which would broadcast or be meaningless, are refused."""
    with pytest.raises(OptionError, match="give one value a query"):
        paired_difference(np.zeros(a), np.zeros(b), seed=0)


@pytest.mark.parametrize(("confidence", "resamples"), [(0.0, 10), (1.0, 10), (95, 10), (0.95, 0)])
def test_an_interval_needs_usable_numbers(confidence: float, resamples: int) -> None:
    """A confidence in per cent, or no resample, is refused."""
    with pytest.raises(OptionError, match="0 < confidence < 1"):
        paired_difference(np.zeros(3), np.zeros(3), seed=0, confidence=confidence, resamples=resamples)


@pytest.mark.parametrize("seed", range(3))
def test_counting_and_sorting_rank_alike(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Distances with many ties, queries without anything relevant: both ways give the ranks of the loop."""
    random = np.random.default_rng(seed)
    distance = (random.integers(6, size=(30, 50)) / 4).astype(np.float32)
    relevant = random.random((30, 50)) < 0.1
    relevant[3] = False
    expected = [
        (query, rank)
        for query in range(30)
        for rank, column in enumerate(
            sorted(range(50), key=lambda c: (distance[query, c], relevant[query, c])), 1
        )
        if relevant[query, column]
    ]
    for few in (0, 50):
        monkeypatch.setattr(ranks, "_FEW", few)
        query, rank = ranks.ranks(distance.copy(), relevant)
        assert list(zip(query.tolist(), rank.tolist(), strict=True)) == expected


@pytest.mark.parametrize("few", [0, 9])
def test_a_cosine_above_1_is_the_smallest_distance(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """Rounding makes embeddings a little longer than 1; the nearest then stays the first, sorted or counted."""
    monkeypatch.setattr(ranks, "_FEW", few)
    embeddings = np.array([[1.0004, 0], [1.0004, 0], [0.9992, 0.0399], [0, -1]], np.float32)
    metrics = by_class(embeddings, np.array([0, 0, 1, 2]))
    assert metrics.per_query["mrr"].tolist() == [1, 1]
