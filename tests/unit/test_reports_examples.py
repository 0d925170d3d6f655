"""Examples of a report: pictures of photographs do not make a page of many megabytes."""

import numpy as np
import pytest

from finetuner.documents import Document
from finetuner.models import EncoderSpec, build_encoder
from finetuner.reports import examples, report
from tests.two_classes import match_documents


def test_pictures_of_all_examples_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many examples of each kind as fit, the first ones; and one at least."""
    documents = [
        Document(
            id=one.id,
            blob=np.tile(np.asarray(one.blob)[:, None], (1, 4)),
            matches=[
                Document(id=of.id, blob=np.tile(np.asarray(of.blob)[:, None], (1, 4)), tags=of.tags)
                for of in one.matches
            ],
        )
        for one in match_documents(30)
    ]
    spec = EncoderSpec("mlp", {"in_features": 24, "hidden": 4, "dim": 3})
    encoders = {name: build_encoder(spec, seed=seed) for name, seed in (("a", 1), ("b", 0))}
    whole = report(encoders, documents, beside=0).examples
    fitting = sum(examples._characters(one) for one in whole) // 2
    monkeypatch.setattr(examples, "PICTURES", fitting)
    some = report(encoders, documents, beside=0).examples
    assert 2 * len(whole) / 5 < len(some) < 3 * len(whole) / 5
    assert sum(examples._characters(one) for one in some) <= fitting
    for chosen in ("won", "lost", "drawn"):
        kind = [one for one in some if one.chosen == chosen]
        assert kind == [one for one in whole if one.chosen == chosen][: len(kind)]
        assert kind
    monkeypatch.setattr(examples, "PICTURES", 1)
    assert len(report(encoders, documents, beside=0).examples) == 1
