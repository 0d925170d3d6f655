"""Leases: one process has the right to change a bucket, and another one gets it once that is gone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from finetuner.errors import RegistryError, ReplicaError
from finetuner.lifecycle import lease as module
from finetuner.lifecycle.lease import LEASES, Lease
from finetuner.lifecycle.objects import Objects
from tests.waiting import until

SHORT = 0.15


class Clock:
    """Takes the place of the time module."""

    now = 0.0

    def monotonic(self) -> float:
        """Return what a test says."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let a test say what time it is."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    """Return a prefix that no other test uses."""
    return Objects(f"memory://leases{tmp_path}")


@pytest.fixture
def first(objects: Objects) -> Iterator[Lease]:
    """Return a lease for a minute that is held."""
    held = Lease(objects, seconds=60)
    assert held.take()
    yield held
    held.close()


def test_a_lease_is_held_by_one(objects: Objects, first: Lease) -> None:
    """Until it is released, nobody else gets it, however often it is asked for."""
    first.check()
    others = [Lease(objects, seconds=60) for _ in range(3)]
    assert [one.take() for one in others] == [False] * 3
    assert others[0].holder() == first.holder() != "nobody"
    first.close()
    assert [Lease(objects, seconds=60).take() for _ in range(2)] == [True, False]


def test_a_lease_of_a_process_that_is_gone_is_taken_once_it_is_out(
    objects: Objects, clock: Clock, first: Lease
) -> None:
    """By the clock of the one who waits, from when it saw the lease first."""
    clock.now = 1000
    second = Lease(objects, seconds=60)
    assert not second.take()
    clock.now += 60
    assert not second.take()
    clock.now += 13
    assert second.take()
    with pytest.raises(ReplicaError, match="could not renew its lease in time"):
        first.check()
    second.close()


def test_a_lease_is_renewed(objects: Objects) -> None:
    """It holds for longer than it lasts, and few leases are left behind."""
    held, other = Lease(objects, seconds=SHORT), Lease(objects, seconds=SHORT)
    assert held.take()
    until(lambda: objects.names(LEASES)[-1] >= f"{LEASES}/{8:020d}")
    assert not other.take()
    held.check()
    assert len(objects.names(LEASES)) <= 2
    held.close()


def test_who_slept_while_another_took_the_lease_has_lost_it(
    objects: Objects, clock: Clock, first: Lease
) -> None:
    """It neither renews it nor releases that of the other."""
    second = Lease(objects, seconds=60)
    assert not second.take()
    clock.now += 61
    assert second.take()
    second._create(7)
    assert not first._create(1)
    assert not first._create(2)  # its number is free again, but others have gone on
    first.lost = True
    first.close()
    third = Lease(objects, seconds=60)
    assert not third.take()
    second.close()


def test_a_lease_whose_answer_got_lost_is_held(objects: Objects, first: Lease) -> None:
    """What it finds in its place was written by itself."""
    objects.put(f"{LEASES}/{1:020d}.json", (objects.get(f"{LEASES}/{0:020d}.json") or b""))
    assert first._create(1)


def test_a_bucket_that_cannot_be_reached_for_a_while_costs_nothing(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is renewed as soon as it can be, as long as nobody has taken it."""
    held = Lease(objects, seconds=SHORT)
    assert held.take()
    asked = 0

    def fail(*_: object) -> bool:
        nonlocal asked
        asked += 1
        raise RegistryError("out of reach")

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "create", fail)
        until(lambda: asked > 4)
        with pytest.raises(ReplicaError):
            held.check()
    until(lambda: held._until > 0 and not held.lost and _holds(held))
    held.close()


def _holds(lease: Lease) -> bool:
    try:
        lease.check()
    except ReplicaError:
        return False
    return True
