"""The training loop, from top to bottom."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from finetuner.errors import DivergedError, NothingToLearnError
from finetuner.matches import MatchSet
from finetuner.models import Encoder, Features, load_encoder
from finetuner.samplers import MatchSampler
from finetuner.training.compare import rank
from finetuner.training.options import TrainingOptions

Report = Callable[[str, dict[str, Any]], None]
"""Called with the name of an event and its figures."""


def train(
    encoder: Encoder,
    matches: MatchSet,
    validation: MatchSet,
    options: TrainingOptions,
    *,
    checkpoint: Path,
    report: Report,
) -> Encoder:
    """Train an encoder in place and return it as it was after its best epoch.

    The best epoch is the one with the highest MAP on the validation anchors, see :func:`rank`. Without any it is
    the last one.

    Args:
        encoder: Trained in place.
        matches: What it learns from.
        validation: Anchors that it never learns from.
        options: How.
        checkpoint: A folder that receives the weights of the best epoch so far.
        report: Receives ``epoch`` events with ``epoch``, ``epochs``, ``loss`` and ``validation_map``.

    Raises:
        NothingToLearnError: If no anchor has both a positive and something to tell it from; ``cosine`` needs no
            more than a judgement.
        DivergedError: If the loss is no longer finite, or the embeddings are no longer of length 1.
    """
    loss_of = options.make_loss()
    sampler = MatchSampler(
        matches,
        batch_size=options.batch_size,
        matches_per_anchor=options.matches_per_anchor,
        seed=options.seed,
        in_batch_negatives=options.uses_in_batch_negatives,
    )
    peak = options.learning_rate or encoder.learning_rate
    lower = f"try a learning_rate below {peak:g}"
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=peak, weight_decay=options.weight_decay)
    steps = options.epochs * len(sampler)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps, options.warmup))
    best, best_epoch = -math.inf, 0
    torch.manual_seed(options.seed)  # dropout
    for epoch in range(options.epochs):
        encoder.train()
        losses = []
        for batch in sampler.epoch(epoch):
            positive, negative = torch.from_numpy(batch.positive), torch.from_numpy(batch.negative)
            if not _teaches(options, positive, negative):
                continue
            features = encoder.prepare(matches.take(batch.contents))
            embeddings = encoder(features)  # (N, D)
            cosine = embeddings[torch.from_numpy(batch.anchors)] @ embeddings.T  # (A, N)
            weight = None if batch.weight is None else torch.from_numpy(batch.weight)
            loss = loss_of(cosine, positive, negative, weight)
            if not torch.isfinite(loss):
                raise DivergedError(f"the loss is {loss.item()} in epoch {epoch + 1}; {lower}")
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # so in torch
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        if not losses:
            raise NothingToLearnError(
                f"none of the {len(matches)} anchors to learn from has a positive and something to tell it from; "
                "add anchors, or matches with labels below 0"
            )
        _check_usable(encoder, features, f"after epoch {epoch + 1}; {lower}")
        metrics = rank(encoder, validation)
        score = metrics.mean()["map"] if metrics is not None else None
        report("epoch", _progress(epoch, options.epochs, losses, score))
        if score is None or score > best:
            best, best_epoch = (best if score is None else score), epoch
            encoder.save(checkpoint)
        elif epoch - best_epoch >= options.patience:
            break
    return load_encoder(encoder.spec, checkpoint)


def _teaches(options: TrainingOptions, positive: Tensor, negative: Tensor) -> bool:
    """Return whether the loss can learn from a batch: the cosine is told its values, the others compare two."""
    if options.loss == "cosine":
        return bool((positive | negative).any())
    return bool((positive.any(1) & negative.any(1)).any())


def _check_usable(encoder: Encoder, features: Features, when: str) -> None:
    # the last step of an epoch may be the one that diverges, and no loss would tell
    encoder.eval()
    with torch.inference_mode():
        lengths = encoder(features).norm(dim=1)
    if not (torch.isfinite(lengths).all() and lengths.any()):  # divided by an infinite norm all are 0
        raise DivergedError(f"the embeddings are no longer of length 1 {when}")


def _progress(epoch: int, epochs: int, losses: list[float], score: float | None) -> dict[str, Any]:
    return {"epoch": epoch + 1, "epochs": epochs, "loss": float(np.mean(losses)), "validation_map": score}


def _rate(step: int, steps: int, warmup: float) -> float:
    """Return the share of the peak learning rate: a linear rise, then half a cosine down to zero."""
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))
