"""The backward-compatible term: what it is, that its documents stay, and what it is good for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import finetuner
from finetuner.errors import OptionError
from finetuner.evaluation import by_judgements
from finetuner.features import FeatureCache
from finetuner.losses import Relations, make_objective
from finetuner.matches import MatchSet
from finetuner.models import Encoder
from finetuner.training.backward import OldDocuments
from tests.two_classes import encoder, match_documents

DATA = MatchSet.from_documents(match_documents(60))
UNSEEN = MatchSet.from_documents(match_documents(100, seed=7))


def old_documents(base: Encoder, folder: Path, *, weight: float) -> OldDocuments:
    """Return the documents of a version."""
    return OldDocuments(base, DATA, FeatureCache(folder, most_bytes=10**7), weight=weight)


def asked(old: OldDocuments) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the term for three queries and the first four contents, and its gradient with respect to the queries."""
    queries = torch.eye(3, 4, requires_grad=True)
    relations = Relations(torch.eye(3, 4, dtype=torch.bool), ~torch.eye(3, 4, dtype=torch.bool))
    loss = old.loss(make_objective("infonce", {}, dim=4), queries, np.arange(4), relations)
    loss.backward()  # type: ignore[no-untyped-call]  # so in torch
    assert queries.grad is not None
    return loss.detach(), queries.grad


def test_the_term_is_the_objective_of_new_queries_and_old_documents(tmp_path: Path) -> None:
    """It is computed with what the encoder made of the batch's contents, and counts as much as its weight says."""
    base = encoder()
    relations = Relations(torch.eye(3, 4, dtype=torch.bool), ~torch.eye(3, 4, dtype=torch.bool))
    documents = torch.from_numpy(base.embed(DATA.take(np.arange(4))))
    wanted = make_objective("infonce", {}, dim=4)(torch.eye(3, 4), documents, relations)
    found, gradient = asked(old_documents(base, tmp_path, weight=0.25))
    torch.testing.assert_close(found, wanted / 4)
    assert gradient.abs().sum() > 0


def test_the_documents_stay_while_the_encoder_learns(tmp_path: Path) -> None:
    """Training changes the encoder in place; the term of the same queries is the same afterwards."""
    base = encoder()
    old = old_documents(base, tmp_path, weight=1)
    before, _ = asked(old)
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.zero_()
    assert torch.equal(asked(old)[0], before)


def test_another_dimension_is_refused() -> None:
    """Three numbers cannot ask for documents of four."""
    with pytest.raises(
        OptionError, match="embeddings will have 3 numbers, and those of the old version have 4"
    ):
        finetuner.fit(encoder(), DATA, recipe="head", head_dim=3, backward=1)


def test_with_the_term_new_queries_find_more_among_old_documents() -> None:
    """A projection that starts anywhere comes back to where it can ask the old version's documents, or does not."""
    base = tuned(encoder(seed=4), recipe="full", epochs=20)
    documents = base.embed(UNSEEN.take(np.arange(len(UNSEEN.ids))))
    found = {}
    for weight in (0, 1):
        queries = tuned(base, recipe="head", backward=weight, epochs=60).embed(UNSEEN.take(UNSEEN.anchors))
        metrics = by_judgements(documents, UNSEEN, over="judged", queries=queries).mean()
        found[weight] = metrics["r_precision"]
    assert found[1] > found[0] + 0.1


def tuned(base: Encoder, **options: Any) -> Encoder:
    """Return an encoder after some epochs, all of them."""
    every: dict[str, Any] = {
        "batch_size": 16,
        "validation": 0,
        "holdout": 0,
        "interpolate": [],
        "save_seconds": 1e9,
    }
    return finetuner.fit(base, DATA, **every, **options).encoder
