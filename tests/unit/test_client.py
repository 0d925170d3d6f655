"""The stream of packs that a client reads: it goes on where it broke off, and never looks complete when it is not."""

from collections.abc import Iterator
from typing import Any

import pytest

from executors.client import FlowClient
from executors.documents import PackDocument, pack_to_wire
from finetuner.checksums import PackChecksum
from finetuner.documents import Document
from finetuner.errors import ChangedDataError, OptionError, StreamError, UnknownCollectionError
from finetuner.packing import packed
from finetuner.packs import Pack

PACKS = list(packed((Document(f"text {number}", id=f"d{number}") for number in range(4)), anchors=1))
"""Four packs of one stream."""


class Clock:
    """A time in which nothing takes long but what says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept = 0

    def monotonic(self) -> float:
        """Return the seconds that have passed."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let them pass."""
        self.now += seconds
        self.slept += 1


class BreakingClient(FlowClient):
    """A client whose streams break off.

    Args:
        breaks: How each stream ends in turn: after so many packs, with that error; later ones end well.
        checksum: What the last frame tells, if it is not the truth.
        position: What it tells.
    """

    def __init__(
        self, *breaks: tuple[int, Exception], checksum: str | None = None, position: float = 7
    ) -> None:
        super().__init__("grpc://nowhere")
        self.asked: list[dict[str, Any]] = []
        self._breaks = list(breaks)
        self._checksum = checksum
        self._position = position

    def frames(
        self, endpoint: str, parameters: dict[str, Any]
    ) -> Iterator[tuple[PackDocument, dict[str, Any] | None]]:
        """Yield the packs behind the cursor."""
        self.asked.append(parameters)
        start = int(parameters.get("cursor", 0))
        count, error = self._breaks.pop(0) if self._breaks else (len(PACKS), None)
        checksum = PackChecksum()
        for pack in PACKS:
            checksum.add(pack)
        for place, pack in enumerate(PACKS[start : start + count], start + 1):
            yield pack_to_wire(pack, {"finetuner": {"cursor": str(place)}}), None
        if error is not None:
            raise error
        yield PackDocument(), {"checksum": self._checksum or checksum.hexdigest(), "position": self._position}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of all clients."""
    clock = Clock()
    monkeypatch.setattr("executors.client.time", clock)
    return clock


def names(packs: list[Pack]) -> list[str]:
    """Return the ids of the documents that packs brought."""
    return [name for pack in packs for name in pack.ids]


@pytest.mark.parametrize("error", [StreamError("it was cut"), ConnectionError("nobody answers")])
def test_a_stream_of_packs_goes_on_where_it_broke_off(clock: Clock, error: Exception) -> None:
    """After each break it asks for what is behind its last pack, so that each comes once; then it is a whole."""
    client = BreakingClient((1, error), (0, error), (2, error))
    packs = client.packs("c", kind="text")
    assert names(list(packs)) == ["d0", "d1", "d2", "d3"]
    assert [asked.get("cursor") for asked in client.asked] == [None, "1", "1", "3"]
    assert {asked["kind"] for asked in client.asked} == {"text"}
    assert packs.snapshot["position"] == 7
    assert packs.snapshot["parameters"] == {"kind": "text", "position": 7}


def test_patience_has_an_end(clock: Clock) -> None:
    """If it does not go on within that time after the last pack, what broke it is raised, and there is no snapshot."""
    error = ConnectionError("nobody answers")
    packs = BreakingClient((1, error), *[(0, error)] * 100).packs("c", patience=3)
    with pytest.raises(ConnectionError):
        list(packs)
    assert clock.now == pytest.approx(3, abs=0.3)
    assert packs.snapshot == {}


def test_without_patience_nothing_is_tried_again(clock: Clock) -> None:
    """The first break is raised."""
    client = BreakingClient((1, StreamError("it was cut")))
    with pytest.raises(StreamError, match="it was cut"):
        list(client.packs("c", patience=0))
    assert (len(client.asked), clock.slept) == (1, 0)


def test_a_slow_reader_has_all_its_patience_left(clock: Clock) -> None:
    """The time that a reader takes for a pack is not spent on trying to go on."""
    client = BreakingClient((1, StreamError("it was cut")), (0, ConnectionError()))
    read = []
    for pack in client.packs("c", patience=3):
        read.append(pack)
        clock.now += 60
    assert names(read) == ["d0", "d1", "d2", "d3"]


@pytest.mark.parametrize("error", [UnknownCollectionError("there is none"), ChangedDataError("deleted")])
def test_what_trying_again_cannot_mend_is_raised_at_once(clock: Clock, error: Exception) -> None:
    """The service has answered; it would answer the same."""
    client = BreakingClient((1, error))
    with pytest.raises(type(error)):
        list(client.packs("c"))
    assert len(client.asked) == 1


def test_packs_with_another_checksum_are_an_error(clock: Clock) -> None:
    """What came is not what was sent, which is told at once, and there is no snapshot."""
    client = BreakingClient(checksum="0" * 64)
    packs = client.packs("c")
    with pytest.raises(StreamError, match="/pack of 'c': what came has another checksum"):
        list(packs)
    assert (len(client.asked), packs.snapshot) == (1, {})


def test_a_stream_of_packs_takes_no_cursor() -> None:
    """It could not tell whether what comes is what was sent."""
    with pytest.raises(OptionError, match="a cursor is given"):
        FlowClient("grpc://nowhere").packs("c", cursor="1-1-ff")


def test_a_made_collection_has_a_snapshot_without_a_position(clock: Clock) -> None:
    """It is emitted again with its parameters alone."""
    packs = BreakingClient(position=0).packs("made", seed=1)
    list(packs)
    assert (packs.snapshot["collection"], packs.snapshot["parameters"]) == ("made", {"seed": 1})
