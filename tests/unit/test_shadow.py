"""A version in the shadow: what it hears of, what it tells, and that nobody waits for it."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from finetuner.contents import content_hash
from finetuner.lifecycle.shadow import Sample, Sampled, Shadow
from finetuner.models import Encoder, EncoderSpec, build_encoder
from tests.two_classes import encoder, points
from tests.waiting import until

POINTS = points(40)
SERVED = encoder(0).embed(POINTS)


@pytest.fixture
def shadow() -> Iterator[Shadow]:
    """Return one that hears of everything."""
    shadow = Shadow("v1", encoder(1), 1.0)
    yield shadow
    shadow.close()


def heard(shadow: Shadow, *, version: str = "v0", rows: slice = slice(None)) -> dict[str, Any]:
    """Let a shadow hear of contents, and return its report once it is through."""
    shadow.hear(POINTS[rows], "document", SERVED[rows], version)
    until(lambda: not shadow._waiting)
    return shadow.report()


def test_it_tells_how_far_it_agrees(shadow: Shadow) -> None:
    """With a version of the same weights wholly, whose neighbours are the same."""
    alike = Shadow("v1", encoder(0), 1.0)
    told = heard(alike)
    alike.close()
    assert (told["overlap"], told["rank_agreement"]) == ({"1": 1.0, "10": 1.0}, pytest.approx(1))
    other = heard(shadow)
    assert 0 < other["overlap"]["10"] < 1
    counts = {
        name: other[name] for name in ("seen", "dropped", "embedded", "failed", "sampled", "began_anew")
    }
    assert counts == {"seen": 40, "dropped": 0, "embedded": 40, "failed": 0, "sampled": 40, "began_anew": 0}


def test_the_neighbours_by_hand() -> None:
    """Of three contents on a circle: where the shadow puts two of them the other way round, that is shown."""
    spec = EncoderSpec("tests.two_classes:scaled", {"sign": 1})
    shadow = Shadow("v1", build_encoder(spec), 1.0)
    angles = np.deg2rad([0, 10, 80])
    seen = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    # served the first lies beside the last; the shadow leaves the contents as they are: it lies beside the second
    shadow.hear(seen, "document", seen[[1, 2, 0]], "v0")
    until(lambda: not shadow._waiting)
    told = shadow.report()
    shadow.close()
    names = [content_hash(one).hex() for one in seen]
    assert told["overlap"] == {"1": pytest.approx(1 / 3), "10": None}
    # served 10, 80 and 0 degrees: 0 and 2 are neighbours, and 0 is that of 1; in the shadow 0 and 1, and 1 is that of 2
    changed = {one["content"]: one for one in told["changed"]}
    assert changed[names[0]]["served"] == [names[2], names[1]]
    assert changed[names[0]]["shadow"] == [names[1], names[2]]
    assert changed[names[1]]["overlap"] == 1


def test_a_vector_of_the_sample_keeps_no_others_in_memory(shadow: Shadow) -> None:
    """It is a copy, not a row of all that was embedded with it."""
    heard(shadow)
    assert all(one.served.base is None and one.shadow.base is None for one in shadow._sample.held())


def test_texts_are_shown_as_texts() -> None:
    """Cut to a length that can be read."""
    texts = ["one", "two", "x" * 500]
    reader = build_encoder(EncoderSpec("tests.bag_of_words:bag_of_words"))
    shadow = Shadow("v1", reader, 1.0)
    shadow.hear(texts, "document", reader.embed(texts), "v0")
    until(lambda: not shadow._waiting)
    told = shadow.report()
    shadow.close()
    assert {one["content"] for one in told["changed"]} == {"one", "two", "x" * 200}


def test_only_a_share_is_embedded() -> None:
    """The same for the same seed."""
    shadows = [Shadow("v1", encoder(1), 0.25, seed=seed) for seed in (0, 0, 1)]
    told = [heard(shadow) for shadow in shadows]
    for shadow in shadows:
        shadow.close()
    assert told[0] == told[1]
    assert all(2 < one["embedded"] < 20 and one["seen"] == 40 for one in told)
    assert told[0]["changed"] != told[2]["changed"]


def test_vectors_of_two_served_versions_are_never_compared(shadow: Shadow) -> None:
    """Where another one serves the comparison begins anew, and says so."""
    heard(shadow, rows=slice(0, 20))
    told = heard(shadow, version="v2", rows=slice(20, 25))
    assert (told["against"], told["sampled"], told["embedded"]) == ("v2", 5, 5)
    assert (told["began_anew"], told["seen"]) == (1, 25)


def test_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is busy, more is taken than it can do up to a bound, and the rest is dropped and counted."""
    busy = threading.Event()
    shadow = Shadow("v1", encoder(1), 1.0)
    embed = Encoder.embed

    def slow(self: Encoder, *arguments: Any, **options: Any) -> Any:
        busy.wait(10)
        return embed(self, *arguments, **options)

    monkeypatch.setattr(Encoder, "embed", slow)
    for _ in range(5):
        shadow.hear(POINTS, "document", SERVED, "v0")  # returns while nothing is embedded
    assert shadow.report()["dropped"] == 5 * 40 - Shadow.WAITING
    busy.set()
    until(lambda: not shadow._waiting)
    assert shadow.report()["embedded"] == Shadow.WAITING
    shadow.close()


def test_its_errors_are_told_and_seen_by_nobody_else() -> None:
    """Also those of a network of somebody's own that are none of ours; later contents are embedded again."""
    shadow = Shadow("v1", build_encoder(EncoderSpec("tests.two_classes:scaled")), 1.0)
    forward = shadow._encoder.module.forward
    shadow._encoder.module.forward = lambda _: {}["missing"]  # type: ignore[index]
    told = heard(shadow)
    assert (told["failed"], told["error"], told["overlap"]["1"]) == (40, "KeyError: 'missing'", None)
    shadow._encoder.module.forward = forward
    assert heard(shadow)["embedded"] == 40
    shadow.close()


def test_it_does_not_compare_itself_with_itself(shadow: Shadow) -> None:
    """Where it has been promoted it rests, and says so."""
    told = heard(shadow, version="v1")
    assert (told["serves"], told["seen"]) == (True, 0)
    assert heard(shadow)["serves"] is False


def test_what_comes_after_its_end_is_not_heard(shadow: Shadow) -> None:
    """A request that was running when it ended is none of its business, and does not fail."""
    shadow.close()
    shadow.hear(POINTS, "document", SERVED, "v0")
    assert shadow.report()["seen"] == 0


def test_a_sample_is_of_distinct_contents_whatever_their_order() -> None:
    """A content that comes a hundred times is in it as likely as one that comes once."""
    vector = np.ones(2, np.float32)
    digests = [content_hash(str(number)) for number in range(200)]
    held = []
    for order in (digests, digests[::-1] + digests[:50] * 100):
        sample = Sample(20, seed=0)
        for digest in order:
            sample.add(digest, Sampled(digest.hex(), vector, vector))
        held.append([one.name for one in sample.held()])
    assert held[0] == held[1]
    assert len(held[0]) == 20
    assert 2 < sum(name in {digest.hex() for digest in digests[:100]} for name in held[0]) < 18
