"""What mapped queries find in the index of an old version, against an index that is embedded again in whole.

Queries are those of test anchors, which neither training nor map has seen; relevant is what was judged positive, or of the
same class. Pairs are what the map is fitted to:

* covid: Covid QA with MiniLM, all weights tuned; pairs are the contents of the training side, documents the answers of both;
* shop: shopping queries with MiniLM, all weights tuned; documents are the products judged for the held-out queries, and
  1,000 others, which are the pairs together with the training queries;
* fashion_base: images with the mlp, from new weights to tuned ones, by three seeds, the hard case: the old space knows
  nothing; pairs are the 2,000 training images, documents 500 test images, queries 500 others;
* fashion_tuned: the same from a version tuned on 600 images to one tuned on all.

Beside the maps there is a regression of old queries on new ones, which is what Drift-Adapter (arXiv 2509.23471) minimises
with its affine map; of its ridges the one counts that does best for the test queries, which flatters it.

Steps and width of the network, ranks and ridges were settled while looking at covid, shop, and fashion with seed 0. So these
flatter our maps; of the other seeds nothing was known then.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import finetuner
from benchmarks.quality import MINILM, esci
from finetuner.compatibility import (
    KINDS,
    Kind,
    Layers,
    Map,
    Recalls,
    Relevant,
    Stamped,
    fit_map,
    recalls,
    reembed_order,
)
from finetuner.compatibility.linear import corrected, rotation
from finetuner.compatibility.residual import train
from finetuner.compatibility.stamped import Embeddings
from finetuner.documents import Document
from finetuner.matches import MatchSet, Rows
from finetuner.models import Encoder, EncoderSpec, build_encoder
from finetuner.sources import covid_qa, fashion_mnist

THREADS = 2
SEED = 0
SEEDS = (0, 1, 2)  # of new weights and their training: one says little about the others
BATCH = 256
ROUNDS = 200
GOAL = 0.97
GOAL_MICROSECONDS = 10
OTHERS = 1000  # products that nobody judged for a held-out query
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)  # of the documents, embedded again
DRAWS = 5  # random orders
START = 0.1  # ridge of the map that a network is trained beside, as in fit_map

Cosines = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Case:
    """Embeddings of one data set by two versions.

    Attributes:
        name: Of the data set.
        old: Of the old version: pairs, queries and documents.
        new: The same of the new version.
        relevant: Which documents are relevant for which queries.
    """

    name: str
    old: dict[str, Stamped]
    new: dict[str, Stamped]
    relevant: Relevant


def main() -> None:
    """Tune, fit maps, and print the figures."""
    torch.set_num_threads(THREADS)
    figures: dict[str, Any] = {}
    maps: list[Map] = []
    for case in cases():
        figures[case.name], made = measured(case)
        maps += made
    torch.set_num_threads(1)
    microseconds = {kind: max(taken(one) for one in maps if one.kind == kind) for kind in KINDS}
    print("microseconds a query: " + ", ".join(f"{kind} {value:.2f}" for kind, value in microseconds.items()))
    ratio = min(one["mapped_recall_ratio"] for one in figures.values())
    missed = [name for name, one in figures.items() if one["mapped_recall_ratio"] < GOAL]
    print(f"least ratio {ratio:.4f}, goal {GOAL}" + (f"; missed on {', '.join(missed)}" if missed else ""))
    told = {
        "mapped_recall_ratio": ratio,
        "microseconds_per_query": round(max(microseconds.values()), 2),
        **figures,
    }
    print(json.dumps({"benchmark": "compatibility", **told}))


def cases() -> Iterator[Case]:
    """Yield what is measured."""
    yield covid()
    yield shop()
    yield from fashion()


def covid() -> Case:
    """Return Covid QA before and after all weights of MiniLM were tuned."""
    train, test = (
        MatchSet.from_documents(
            covid_qa.match_documents(covid_qa.CovidQaOptions(is_testset=side, to_ndarray=False)), kind="text"
        )
        for side in (False, True)
    )
    base = build_encoder(MINILM)
    tuned = fully_tuned(base, train, epochs=3, batch_size=32, matches_per_anchor=2)
    answers = np.setdiff1d(np.arange(len(test.ids)), test.anchors)
    texts = {
        "pairs": list(train.contents),
        "queries": list(test.take(test.anchors)),
        "documents": [
            *test.take(answers),
            *train.take(np.setdiff1d(np.arange(len(train.ids)), train.anchors)),
        ],
    }
    return Case("covid", *embedded(base, tuned, texts), judged(test, answers))


def shop() -> Case:
    """Return the shopping queries before and after all weights of MiniLM were tuned."""
    training, held_out = esci().split(1 / 3, seed=SEED)
    base = build_encoder(MINILM)
    tuned = fully_tuned(base, training, epochs=2, batch_size=32, matches_per_anchor=8)
    for_queries = np.unique(held_out.matches)
    asked = np.concatenate([held_out.anchors, training.anchors, for_queries])
    others = np.random.default_rng(SEED).permutation(np.setdiff1d(np.arange(len(held_out.ids)), asked))[
        :OTHERS
    ]
    documents = np.concatenate([for_queries, others])
    texts = {
        "pairs": list(training.take(np.concatenate([training.anchors, others]))),
        "queries": list(held_out.take(held_out.anchors)),
        "documents": list(held_out.take(documents)),
    }
    return Case("shop", *embedded(base, tuned, texts), judged(held_out, documents))


def fashion() -> Iterator[Case]:
    """Yield the images, from new weights to tuned ones, and from tuned ones to better tuned ones."""
    images = list(fashion_mnist.match_documents(fashion_mnist.FashionMnistOptions()))
    options = fashion_mnist.FashionMnistOptions(is_testset=True, num_total=1000, num_pos=0, num_neg=0)
    test = list(fashion_mnist.match_documents(options))
    blobs, classes = pictures(test), np.array([one.tags["class"] for one in test])
    contents = {
        "pairs": pictures(images),
        "queries": blobs[:500],
        "documents": blobs[500:],
    }
    relevant = Relevant(*np.nonzero(classes[:500, None] == classes[500:]))
    matches = MatchSet.from_documents(images)
    for seed in SEEDS:
        base = build_encoder(EncoderSpec("mlp"), seed=seed)
        tuned = fully_tuned(base, matches, seed=seed)
        yield Case(f"fashion_base_{seed}", *embedded(base, tuned, contents), relevant)
    first, second = (
        fully_tuned(build_encoder(EncoderSpec("mlp"), seed=SEED), some, seed=SEED)
        for some in (MatchSet.from_documents(images[:600]), matches)
    )
    yield Case("fashion_tuned", *embedded(first, second, contents), relevant)


def pictures(documents: list[Document]) -> NDArray[np.float32]:
    """Return the contents of some documents, (N, 28, 28)."""
    return np.stack([np.asarray(one.blob, np.float32) for one in documents])


def fully_tuned(base: Encoder, matches: MatchSet, *, seed: int = SEED, **options: Any) -> Encoder:
    """Return an encoder with all weights tuned."""
    return finetuner.fit(base, matches, recipe="full", holdout=0, seed=seed, **options).encoder


def embedded(
    old: Encoder, new: Encoder, contents: dict[str, Any]
) -> tuple[dict[str, Stamped], dict[str, Stamped]]:
    """Return the embeddings of some contents by two versions."""
    return stamped("old", old, contents), stamped("new", new, contents)


def stamped(version: str, encoder: Encoder, contents: dict[str, Any]) -> dict[str, Stamped]:
    """Return the embeddings of some contents by one version; each text is embedded once."""
    if encoder.kind == "blob":
        return {part: Stamped(version, encoder.embed(some)) for part, some in contents.items()}
    rows: dict[str, int] = {}
    of = {part: [rows.setdefault(text, len(rows)) for text in some] for part, some in contents.items()}
    vectors = encoder.embed(list(rows))
    return {part: Stamped(version, vectors[some]) for part, some in of.items()}


def judged(matches: MatchSet, documents: Rows) -> Relevant:
    """Return which documents have a positive label for which anchors."""
    place = np.full(len(matches.ids), -1)
    place[documents] = np.arange(len(documents))
    positive = matches.labels > 0
    return Relevant(matches.anchor_of[positive], place[matches.matches[positive]])


def measured(case: Case) -> tuple[dict[str, Any], list[Map]]:
    """Fit, print and return the figures of a case, and all its maps."""
    started = time.perf_counter()
    fitted = fit_map(case.old["pairs"], case.new["pairs"], seed=SEED)
    seconds = time.perf_counter() - started
    found = asked(case, fitted.map)
    maps = {
        kind: fitted.map if kind == fitted.map.kind else of_kind(case, kind, fitted.figures.ridge)
        for kind in KINDS
    }
    print(
        f"{case.name}: {len(case.old['pairs'])} pairs, {found.queries} queries, {len(case.old['documents'])} "
        f"documents; {fitted.map.kind} in {seconds:.1f} s of "
        + ", ".join(f"{name} {kept:.4f}" for name, kept in fitted.figures.kept.items())
    )
    for route, value in found.recall.items():
        lost = found.lost.get(route)
        beside = "" if lost is None else "  {:+.4f} ({:+.4f} to {:+.4f})".format(*lost)
        print(f"  {route:<12} recall@10 {value:.4f}{beside}")
    whole = found.recall["new->new"]
    ratios = {kind: asked(case, one).kept for kind, one in maps.items()} | {
        "regression": regressed(case, whole=whole)
    }
    print("  share of new->new: " + ", ".join(f"{name} {value:.4f}" for name, value in ratios.items()))
    order = rebuilding(case, fitted.map, whole=whole)
    figures = {
        "mapped_recall_ratio": round(found.kept, 4),
        "kind": fitted.map.kind,
        "recall": {route: round(value, 4) for route, value in found.recall.items()},
        "ratios": {name: round(value, 4) for name, value in ratios.items()},
        "rebuilding": order,
    }
    return figures, list(maps.values())


def asked(case: Case, between: Map) -> Recalls:
    """Return the recall along each route."""
    old, new = case.old, case.new
    both = (old["queries"], new["queries"], old["documents"], new["documents"])
    return recalls(between, *both, relevant=case.relevant, seed=SEED)


def of_kind(case: Case, kind: Kind, ridge: float | None) -> Map:
    """Return the map of a kind, without judging it; ``ridge`` is the one that the affine map was found to need."""
    old, new = case.old["pairs"].vectors, case.new["pairs"].vectors
    if kind == "affine" and ridge is None:  # a rotation was good enough, and none was tried
        return fit_map(case.old["pairs"], case.new["pairs"], seed=SEED, kinds=[kind]).map
    drawn = np.random.default_rng(SEED).permutation(len(old))  # as fit_map takes them
    weights = fitted_to(kind, old[drawn], new[drawn], ridge or START)
    return Map(kind, "new", "old", *weights)


def fitted_to(kind: Kind, old: Embeddings, new: Embeddings, ridge: float) -> tuple[Embeddings, Layers | None]:
    """Return the linear map and the network of a kind."""
    if kind == "rotation":
        return rotation(old, new).astype(np.float32), None
    if kind == "affine":
        return corrected(old, new, ridge=ridge).astype(np.float32), None
    return train(old, new, corrected(old, new, ridge=START).astype(np.float32), seed=SEED)


def regressed(case: Case, *, whole: float) -> float:
    """Return the best share of full re-embedding that a ridge regression of old embeddings on new ones reaches."""
    old, new = (one["pairs"].vectors.astype(np.float64) for one in (case.old, case.new))
    centred = new - new.mean(0)
    squares = centred.T @ centred
    shares = []
    for ridge in (1e-3, 1e-2, 1e-1, 1.0):
        penalty = ridge * np.trace(squares) / len(squares) * np.eye(len(squares))
        linear = np.linalg.solve(squares + penalty, centred.T @ (old - old.mean(0)))
        queries = (case.new["queries"].vectors - new.mean(0)) @ linear + old.mean(0)
        shares.append(recall(queries @ case.old["documents"].vectors.T, case.relevant))
    return max(shares) / whole


def rebuilding(case: Case, between: Map, *, whole: float) -> dict[str, dict[str, float]]:
    """Print and return recall while documents are embedded again, as shares of that in the end.

    Two ways to rank old and new documents together: by their cosines as they are, and with the map's shift added to
    those of old ones; the mean over shares of documents, in our order and in random ones.
    """
    ours = reembed_order(between, case.old["pairs"], case.new["pairs"], case.old["documents"])
    random = np.random.default_rng(SEED)
    drawn = [random.permutation(len(ours)) for _ in range(DRAWS)]
    old = between.apply(case.new["queries"]).vectors @ case.old["documents"].vectors.T
    new = case.new["queries"].vectors @ case.new["documents"].vectors.T
    told = {}
    for name, shift in (("as_they_are", 0.0), ("shifted", between.shift)):
        by_us = curve(ours, old + shift, new, case.relevant) / whole
        by_chance = (
            np.mean([curve(order, old + shift, new, case.relevant) for order in drawn], axis=0) / whole
        )
        told[name] = {"ours": round(float(by_us.mean()), 4), "random": round(float(by_chance.mean()), 4)}
        print(f"  embedded again {SHARES}, cosines {name}:")
        print(f"    ours {np.round(by_us, 3)}, random {np.round(by_chance, 3)}")
    return told


def curve(order: Rows, old: Cosines, new: Cosines, relevant: Relevant) -> NDArray[np.float64]:
    """Return the recall@10 at each share of documents that are embedded again."""
    made = []
    for share in SHARES:
        again = order[: round(share * len(order))]
        mixed = old.copy()
        mixed[:, again] = new[:, again]
        made.append(recall(mixed, relevant))
    return np.array(made)


def recall(cosines: Cosines, relevant: Relevant) -> float:
    """Return the recall@10 of queries with these cosines to documents, (Q, N)."""
    wanted = np.zeros(cosines.shape, dtype=np.bool_)
    wanted[relevant.queries, relevant.documents] = True
    some = wanted.any(axis=1)
    top = np.argpartition(-cosines, 10, axis=1)[:, :10]
    hits = np.take_along_axis(wanted, top, 1).sum(axis=1)
    return float((hits[some] / wanted[some].sum(axis=1)).mean())


def taken(between: Map) -> float:
    """Return the microseconds that mapping a query takes, in a batch, on one thread; the median."""
    queries = np.random.default_rng(SEED).normal(size=(BATCH, len(between.linear))).astype(np.float32)
    stamped = Stamped(between.source, queries / np.linalg.norm(queries, axis=1, keepdims=True))
    rounds = [timed(lambda: between.apply(stamped)) for _ in range(ROUNDS)]
    return 1e6 * statistics.median(rounds) / BATCH


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
