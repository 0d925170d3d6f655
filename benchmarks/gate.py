"""The gate over many small tuning jobs: who is promoted, and who should have been.

Sixty jobs on data drawn from what is bundled, thirty with images and thirty with questions, and fourteen that have very little.
Of each thirty, twenty learn from the labels as they are, five from labels that are turned round, and five from labels that are
dealt out at random. All of a job's data is spoiled, also what it holds out. Each is judged by the gate as the service would do
it, with a small collection of sound labels as a guard, and once more without that guard. The truth is how the candidate ranks
for queries that neither the job nor the guard has.

* images: the MLP, after a short training on 100 images, goes on with 300 others; truth are the 1,000 test images by class.
* agencies: an adapter on MiniLM, for users who want to find the Covid questions of the same agency: 90 questions with ten of
  the same and ten of the other one; truth are 100 other questions by agency.
* answers: an adapter on MiniLM, for the answers to 100 Covid questions; truth are the questions of its test side. MiniLM has a
  MAP of 0.93 there, and the gain of 0.02 to 0.03 that is to be had cannot be told from chance on 40 held-out anchors.
  These jobs show what the gate does not do; they are not among the sixty.

A promoted candidate is worse if its mean MAP in truth is below that of the encoder it would replace. A job is useful if its
labels are sound and the 95 % interval of its gain in truth lies above 0.
"""

import csv
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

import finetuner
from benchmarks.quality import MINILM, judged, test_images
from finetuner.documents import Document, labelled
from finetuner.evaluation import Metrics, by_class, paired_difference
from finetuner.lifecycle import Gate, decide
from finetuner.matches import MatchSet
from finetuner.models import Encoder, EncoderSpec, build_encoder
from finetuner.sources import covid_qa, fashion_mnist

Labels = Literal["sound", "flipped", "random"]

JOBS: dict[Labels, int] = {"sound": 20, "flipped": 5, "random": 5}
"""How many jobs of a data set have which labels; half as many have very little data."""

QUESTIONS = Path(__file__).parents[1] / "datasets" / "covid_qa" / "dataset.csv"


@dataclass(frozen=True)
class World:
    """A data set, the encoder that serves, and what is true.

    Attributes:
        name: Of the data set.
        serving: The encoder that a job starts from, and that a candidate would replace.
        pool: Anchors of which a job draws some.
        guard: Anchors of which no job has any.
        size: Anchors of a job.
        truth: Ranks for queries that neither has.
        options: Of the training.
    """

    name: str
    serving: Encoder
    pool: MatchSet
    guard: MatchSet
    size: int
    truth: Callable[[Encoder], Metrics]
    options: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What became of a job.

    Attributes:
        world: The data set.
        labels: What its labels are like.
        promoted: Whether the gate let it pass.
        unguarded: The same without the guard.
        gain: Its gain in truth in MAP, as mean, low and high.
    """

    world: str
    labels: Labels
    promoted: bool
    unguarded: bool
    gain: tuple[float, float, float]

    @property
    def useful(self) -> bool:
        """Whether it should have been promoted."""
        return self.labels == "sound" and self.gain[1] > 0


def main() -> None:
    """Run all jobs, and print who was promoted."""
    torch.set_num_threads(2)
    few: dict[Labels, int] = {labels: count // 2 for labels, count in JOBS.items()}
    with tempfile.TemporaryDirectory() as folder:
        jobs = [job for world in (images(), agencies()) for job in carried_out(world, JOBS, Path(folder))]
        small = carried_out(answers(), few, Path(folder))
    print(
        f"{'data':<10}{'labels':<9}{'jobs':>5}{'useful':>8}{'promoted':>10}{'worse':>7}{'without guard':>15}{'worse':>7}"
    )
    everything = [*jobs, *small]
    for row in dict.fromkeys((job.world, job.labels) for job in everything):
        print_row(*row, [job for job in everything if (job.world, job.labels) == row])
    promoted, useful = [job for job in jobs if job.promoted], [job for job in jobs if job.useful]
    worse = sum(job.gain[0] < 0 for job in promoted)
    print(
        json.dumps(
            {
                "benchmark": "gate",
                "jobs": len(jobs),
                "promoted": len(promoted),
                "promoted_but_worse": round(worse / max(1, len(promoted)), 4),
                "useful": len(useful),
                "useful_promoted": round(sum(job.promoted for job in useful) / max(1, len(useful)), 4),
                "spoiled_promoted": sum(job.labels != "sound" for job in promoted),
                "spoiled_promoted_without_guard": sum(
                    job.unguarded and job.labels != "sound" for job in jobs
                ),
                "small_promoted": sum(job.promoted for job in small),
                "small_useful": sum(job.useful for job in small),
            }
        )
    )


def print_row(world: str, labels: str, jobs: list[Job]) -> None:
    """Print how many of some jobs were promoted."""
    guarded, alone = [job for job in jobs if job.promoted], [job for job in jobs if job.unguarded]
    print(
        f"{world:<10}{labels:<9}{len(jobs):>5}{sum(job.useful for job in jobs):>8}{len(guarded):>10}"
        f"{sum(job.gain[0] < 0 for job in guarded):>7}{len(alone):>15}{sum(job.gain[0] < 0 for job in alone):>7}"
    )


def images() -> World:
    """Return the world of Fashion-MNIST."""
    documents = fashion_mnist.match_documents(fashion_mnist.FashionMnistOptions())
    first, guard, pool = shared_out(MatchSet.from_documents(documents), 100, 150)
    options = {"batch_size": 64, "epochs": 20, "holdout": 0.3}
    begun = finetuner.fit(build_encoder(EncoderSpec("mlp"), seed=0), first, epochs=5, holdout=0).encoder
    return World("images", begun, pool, guard, 300, test_images(), options)


def agencies() -> World:
    """Return the world of Covid questions that belong together if they were asked at the same agency."""
    with QUESTIONS.open(newline="", encoding="utf-8") as file:
        rows = {row["question"]: row["source"] for row in csv.DictReader(file)}
    asked = list(rows)
    truth, guard, pool = (
        [asked[row] for row in np.sort(part)]
        for part in np.split(np.random.default_rng(0).permutation(len(asked)), [100, 140])
    )
    classes = np.array([rows[question] for question in truth])
    return World(
        "agencies",
        build_encoder(MINILM),
        of_the_same_class(pool, rows),
        of_the_same_class(guard, rows),
        90,
        lambda encoder: by_class(encoder.embed(truth), classes),
        {"recipe": "adapter", "holdout": 0.3},
    )


def of_the_same_class(texts: list[str], classes: Mapping[str, str], each: int = 10) -> MatchSet:
    """Return texts with so many others of the same class as positives, and of other classes as negatives."""
    random = np.random.default_rng(0)

    def document(text: str) -> Document:
        matches = []
        for label in (1, -1):
            others = [one for one in texts if one != text and (classes[one] == classes[text]) == (label > 0)]
            chosen = random.permutation(len(others))[:each]
            matches += [
                Document(id=others[row], text=others[row], tags=labelled({}, label)) for row in chosen
            ]
        return Document(id=text, text=text, matches=matches)

    return MatchSet.from_documents(map(document, texts), kind="text")


def answers() -> World:
    """Return the world of Covid questions and their answers."""
    asked, tests = (
        MatchSet.from_documents(
            covid_qa.match_documents(covid_qa.CovidQaOptions(is_testset=test, to_ndarray=False)), kind="text"
        )
        for test in (False, True)
    )
    _, guard, pool = shared_out(asked, 0, 40)
    options = {"recipe": "adapter", "holdout": 0.4}
    return World("answers", build_encoder(MINILM), pool, guard, 100, judged(tests), options)


def shared_out(matches: MatchSet, *sizes: int) -> list[MatchSet]:
    """Return parts of so many anchors, drawn at random, and one of all others."""
    order = np.random.default_rng(0).permutation(len(matches))
    return [matches.only(np.sort(part)) for part in np.split(order, np.cumsum(sizes))]


def carried_out(world: World, jobs: Mapping[Labels, int], folder: Path) -> list[Job]:
    """Return what became of each job."""
    before = world.truth(world.serving).per_query["map"]
    labels: list[Labels] = [one for one, count in jobs.items() for _ in range(count)]
    return [
        carry_out(world, kind, seed, before, folder)
        for seed, kind in enumerate(tqdm(labels, desc=world.name, leave=False))
    ]


def carry_out(world: World, labels: Labels, seed: int, before: NDArray[np.float64], folder: Path) -> Job:
    """Train on some anchors of the pool, and decide."""
    random = np.random.default_rng(seed)
    drawn = world.pool.only(np.sort(random.choice(len(world.pool), world.size, replace=False)))
    matches = replace(drawn, labels=spoiled(drawn.labels, labels, random))
    result = finetuner.fit(
        world.serving, matches, guards={"sound": world.guard}, cache=folder, seed=seed, **world.options
    )
    after = world.truth(result.encoder).per_query["map"]
    found = result.evaluation
    return Job(
        world.name,
        labels,
        decide(found, Gate(), rival="base").promote,
        decide({**found, "guards": {}}, Gate(), rival="base").promote,
        paired_difference(after, before, seed=0),
    )


def spoiled(values: NDArray[np.float32], labels: Labels, random: np.random.Generator) -> NDArray[np.float32]:
    """Return labels as they are, turned round, or dealt out anew."""
    if labels == "flipped":
        return -values
    return random.permutation(values) if labels == "random" else values


if __name__ == "__main__":
    main()
