"""The training loop, from top to bottom."""

import contextlib
import math
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from finetuner.errors import DivergedError, EncoderError, NothingToLearnError, TrainingError
from finetuner.losses import Objective
from finetuner.matches import MatchSet, Rows
from finetuner.mining import mine
from finetuner.models.encoder import is_out_of_memory
from finetuner.samplers import Batch, MatchSampler
from finetuner.training.average import Average, write
from finetuner.training.backward import OldDocuments
from finetuner.training.batches import as_relations, in_groups
from finetuner.training.compare import rank_by
from finetuner.training.options import TrainingOptions
from finetuner.training.recipes import Trainee
from finetuner.training.schedule import rate
from finetuner.training.state import (
    Place,
    Tensors,
    below,
    load_state,
    optimizer_tensors,
    random_tensors,
    restore_optimizer,
    restore_random,
    save_state,
    under,
)
from finetuner.training.watch import Report, Watch


def train(
    trainee: Trainee,
    objective: Objective,
    sampler: MatchSampler,
    matches: MatchSet,
    validation: MatchSet,
    options: TrainingOptions,
    *,
    state: Path,
    report: Report,
    old: OldDocuments | None = None,
) -> None:
    """Train in place, and leave the weights as they were after the best epoch.

    The best epoch is the one with the highest MAP on the validation anchors, see :func:`rank_by`. Without any it is
    the last one.

    Args:
        trainee: What is trained.
        objective: What is made smaller.
        sampler: Deals out batches.
        matches: What it learns from.
        validation: Anchors that it never learns from.
        options: How.
        state: A file that tells how far the run has come; if it is there, the run goes on from it.
        report: Receives ``progress``, ``epoch`` and ``memory`` events.
        old: What queries shall find as well; None to care for new documents only.

    Raises:
        NothingToLearnError: If no anchor has anything that the objective could learn from.
        DivergedError: If loss or gradients are no longer finite, or the embeddings no longer of length 1.
        TrainingError: If the memory does not suffice for one content.
        OSError: If the state cannot be written.
    """
    run = _Run(trainee, objective, matches, options, state, old)
    run.restore()
    place = run.place
    watch = Watch(options, len(sampler), report)
    while place.epoch < options.epochs:
        if options.hard_negatives and place.step == 0 and place.epoch % options.mine_every == 0:
            run.mine(sampler)
        batches = sampler.epoch(place.epoch, mined=run.mined)
        for group in islice(in_groups(batches, options.accumulate), place.step, None):
            run.step(group, watch)
            watch.step(place)
            run.save(after=options.save_seconds)
        if not place.losses:
            raise NothingToLearnError(
                f"none of the {len(matches)} anchors to learn from has a positive and something to tell it from; "
                "add anchors, or matches with labels below 0"
            )
        score = run.validate(validation)
        watch.epoch(place, score)
        run.end_epoch(score)
    run.save(after=options.save_seconds)
    run.leave_best()


class _Run:
    """One training: its optimiser, its average, its place, and the tensors of all of them."""

    def __init__(
        self,
        trainee: Trainee,
        objective: Objective,
        matches: MatchSet,
        options: TrainingOptions,
        state: Path,
        old: OldDocuments | None,
    ) -> None:
        self.place = Place(piece=options.piece)
        self.mined: Rows | None = None
        self._trainee = trainee
        self._objective = objective
        self._matches = matches
        self._options = options
        self._state = state
        self._old = old
        self._saved_at = time.monotonic()
        groups = list(trainee.groups)
        if own := list(objective.parameters()):
            groups.append({"params": own, "peak": max(group["peak"] for group in groups)})
        self._parameters = [parameter for group in groups for parameter in group["params"]]
        self._optimizer = torch.optim.AdamW(groups, weight_decay=options.weight_decay, fused=True)
        self._moving = {**trainee.moving, **under("objective", dict(objective.named_parameters()))}
        self._average = None if options.ema is None else Average(self._moving, options.ema)
        self._best: Tensors = {}
        torch.manual_seed(options.seed)  # dropout

    # a step

    def step(self, batches: list[Batch], watch: Watch) -> None:
        """Take one step by the gradient of some batches."""
        place, options = self.place, self._options
        loss = self._gradient_in_memory(batches, watch)
        if place.steps == 0:
            self._trainee.check()
        self._check_gradient()
        share = rate(place.steps, options.epochs * watch.steps, options)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * share
        self._optimizer.step()
        if self._average is not None:
            self._average.update()
        place.losses.append(loss)
        place.step, place.steps = place.step + 1, place.steps + 1

    def _check_gradient(self) -> None:
        """Cut the gradient to the length that is allowed; raise if it is not finite."""
        most = math.inf if self._options.clip is None else self._options.clip
        length = float(torch.nn.utils.clip_grad_norm_(self._parameters, most))
        if not math.isfinite(length):
            raise DivergedError(
                f"the length of the gradient is {length} in epoch {self.place.epoch + 1}; {self._lower()}"
            )

    def _gradient_in_memory(self, batches: list[Batch], watch: Watch) -> float:
        """Compute the gradient, in as small pieces as the memory asks for."""
        device = self._trainee.encoder.device
        random = random_tensors(device)
        vectors, count = self._trainee.vectors, max(len(batch.contents) for batch in batches)
        while True:
            self._optimizer.zero_grad()
            try:
                loss = math.fsum(self._backward(batch, len(batches)) for batch in batches)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if not vectors.smaller(count):
                    raise TrainingError(
                        f"the memory does not suffice for a batch of {count} contents; take a smaller batch_size"
                    ) from error
                restore_random(random, device)
                continue
            if vectors.piece != self.place.piece:
                self.place.piece = vectors.piece
                watch.memory(self.place.piece, count)
            return loss

    def _backward(self, batch: Batch, share: int) -> float:
        """Add the gradient of a batch to the parameters; return its loss divided by ``share``."""
        encoder, vectors = self._trainee.encoder, self._trainee.vectors
        relations = as_relations(batch, encoder.device)
        made = vectors.of(batch.contents)  # (N, V)
        contents = encoder.finish(made, "document")  # (N, D)
        anchors = relations.anchors
        asking = (
            encoder.finish(made[anchors], "query") if encoder.heads.tell_sides_apart else contents[anchors]
        )
        loss = self._objective(asking, contents, relations)
        if self._old is not None:
            loss = loss + self._old.loss(self._objective, asking, batch.contents, relations)
        loss = loss / share
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DivergedError(f"the loss is {value} in epoch {self.place.epoch + 1}; {self._lower()}")
        vectors.backward(loss)
        return value

    # an epoch

    def mine(self, sampler: MatchSampler) -> None:
        """Find for each anchor the nearest contents that are wrong for it, as the encoder is now."""
        vectors, options = self._trainee.vectors, self._options
        contents = vectors.embeddings(np.arange(len(self._matches.ids)), "document")
        asking = vectors.embeddings(sampler.anchors, "query")
        count, guard = options.hard_negatives, options.hard_negative_guard
        self.mined = mine(asking, contents, sampler.judged(), count=count, guard=guard).rows

    def validate(self, validation: MatchSet) -> float | None:
        """Return the MAP on the validation anchors, None if there is none to rank."""
        encoder, vectors = self._trainee.encoder, self._trainee.vectors
        after = f"after epoch {self.place.epoch + 1}; {self._lower()}"
        with self._averaged():
            # the last step of an epoch may be the one that diverges, and no loss would tell
            try:
                lengths = np.linalg.norm(vectors.embeddings(self._matches.anchors[:64], "query"), axis=1)
            except EncoderError as error:
                raise DivergedError(f"the embeddings are no longer finite {after}") from error
            if not lengths.any():  # what is divided by an infinite norm is 0
                raise DivergedError(f"the embeddings are no longer of length 1 {after}")
            metrics = rank_by(vectors.embeddings, validation, sides=encoder.heads.tell_sides_apart)
        return None if metrics is None else metrics.mean()["map"]

    def end_epoch(self, score: float | None) -> None:
        """Keep the weights if they are the best so far, and go to the next epoch, or to the end."""
        place = self.place
        if score is None or place.best is None or score > place.best:
            place.best, place.best_epoch = score, place.epoch
            with self._averaged():
                self._best = {name: value.detach().clone() for name, value in self._moving.items()}
        is_over = place.epoch - place.best_epoch >= self._options.patience
        place.epoch = self._options.epochs if is_over else place.epoch + 1
        place.step, place.losses = 0, []

    def leave_best(self) -> None:
        """Give the encoder the weights that it had after its best epoch."""
        write(self._best, self._moving)
        self._trainee.finish()

    # what survives

    def save(self, *, after: float = 0) -> None:
        """Write the state, if the last time is some seconds ago."""
        if time.monotonic() - self._saved_at < after:
            return
        average = {} if self._average is None else self._average.tensors
        tensors = {
            **under("moving", self._moving),
            **under("optimizer", optimizer_tensors(self._optimizer)),
            **under("average", average),
            **under("best", self._best),
            **under("random", random_tensors(self._trainee.encoder.device)),
        }
        if self.mined is not None:
            tensors["mined"] = torch.from_numpy(self.mined)
        save_state(self._state, self.place, tensors)
        self._saved_at = time.monotonic()

    def restore(self) -> None:
        """Go on from the state, if there is one.

        Raises:
            TrainingError: If it is not readable.
        """
        saved = load_state(self._state)
        if saved is None:
            return
        self.place, tensors = saved
        device = self._trainee.encoder.device
        write(below("moving", tensors), self._moving)
        restore_optimizer(self._optimizer, below("optimizer", tensors))
        if self._average is not None:
            write(below("average", tensors), self._average.tensors)
        self._best = {name: value.to(device) for name, value in below("best", tensors).items()}
        restore_random(below("random", tensors), device)
        self.mined = tensors["mined"].numpy() if "mined" in tensors else None
        self._trainee.vectors.piece = self.place.piece

    def _averaged(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._average is None else self._average.applied()

    def _lower(self) -> str:
        return f"try a learning_rate below {max(group['peak'] for group in self._optimizer.param_groups):g}"
