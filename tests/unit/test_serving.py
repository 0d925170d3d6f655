"""The engine: one version makes all embeddings of a request, also while another one takes over."""

import threading

import numpy as np
import pytest

from finetuner.errors import EncoderError
from finetuner.models import EncoderSpec, build_encoder
from finetuner.serving import Engine, Served
from tests.two_classes import encoder, points

PLUS, MINUS = (
    Served(version, build_encoder(EncoderSpec("tests.two_classes:scaled", {"sign": sign})))
    for version, sign in (("plus", 1), ("minus", -1))
)
EXPECTED = points(40) / np.linalg.norm(points(40), axis=1, keepdims=True)


def test_a_request_is_embedded_by_what_serves() -> None:
    """The embeddings come in order with the name of their version; a swap changes both."""
    engine = Engine(PLUS)
    for served, sign in ((PLUS, 1), (MINUS, -1)):
        engine.swap(served)
        embeddings, version = engine.embed(points(40))
        assert (version, engine.served) == (served.version, served)
        assert np.allclose(embeddings, sign * EXPECTED, atol=1e-6)


def test_a_version_serves_in_evaluation_mode() -> None:
    """Dropout is off for the first version and for those that are swapped in."""
    first, second = Served("v0", encoder()), Served("v1", encoder())
    engine = Engine(first)
    assert not first.encoder.training
    engine.swap(second)
    assert not second.encoder.training


def test_no_request_is_made_of_two_versions() -> None:
    """While two versions take turns, every answer of many batches is wholly of the version that it names."""
    engine = Engine(PLUS, batch_size=1)
    over, mixed, seen = threading.Event(), [], set()

    def ask() -> None:
        while not over.is_set():
            embeddings, version = engine.embed(points(40))
            seen.add(version)
            if not np.allclose(embeddings, EXPECTED if version == "plus" else -EXPECTED, atol=1e-6):
                mixed.append(version)

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    swaps = 0
    while swaps < 100 or len(seen) < 2:
        engine.swap((MINUS, PLUS)[swaps % 2])
        swaps += 1
        over.wait(0.001)
    over.set()
    for asker in askers:
        asker.join()
    assert mixed == []
    assert seen == {"plus", "minus"}


def test_a_swap_during_a_request_does_not_change_it() -> None:
    """A request that is running ends with the version it began with."""
    engine = Engine(PLUS, batch_size=10)
    batches = []

    def swap(*_: object) -> None:
        batches.append(engine.served.version)
        engine.swap(MINUS)

    hook = PLUS.encoder.module.register_forward_pre_hook(swap)
    embeddings, version = engine.embed(points(40))
    hook.remove()
    assert batches == ["plus", "minus", "minus", "minus"]
    assert version == "plus"
    assert np.allclose(embeddings, EXPECTED, atol=1e-6)


def test_contents_that_the_version_does_not_take_are_refused() -> None:
    """The error is typed, and the engine goes on."""
    engine = Engine(Served("v0", encoder()))
    with pytest.raises(EncoderError, match="does not take"):
        engine.embed(points(3)[:, :2])
    assert engine.embed(points(3))[1] == "v0"
