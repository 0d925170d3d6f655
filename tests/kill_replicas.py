"""Kill -9 while a replica changes the registry: what is active is whole, and the other replicas agree on it.

    python -m tests.kill_replicas --kills 100          a registry in a folder
    python -m tests.kill_replicas --kills 100 --s3     in a bucket, of a local server that speaks S3

Three replicas share a registry. The one that holds it registers, promotes, rolls back and deletes versions all the time, and
is killed at a random moment. Before anybody else changes anything it is looked at what is there; then the other two
have to serve what is active. One of them goes on, and a new third one is started.
"""

import argparse
import contextlib
import ctypes
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from finetuner.lifecycle import DamagedVersion
from tests.replicas import CHANGES, FORKS, Replica, opened
from tests.s3_server import BUCKET, running_s3
from tests.two_classes import SPEC
from tests.waiting import until

REPLICAS = 3
LONGEST_SECONDS = 0.15
"""Between a change of the replica that holds the registry and the kill."""


@dataclass(frozen=True)
class Kill:
    """One kill, and what was found after it.

    Attributes:
        during: What was being done, or an empty string.
        active: The version that was active then; it was whole.
        versions: How many versions there were; all were whole.
        agreed: Seconds from the kill until both others served it.
    """

    during: str
    active: str
    versions: int
    agreed: float


@dataclass(frozen=True)
class Killed:
    """All kills, and the audit log in the end.

    Attributes:
        kills: What was found after each.
        changes: How many changes were made in all.
        told: How often each change is in the log.
        twice: Entries of versions that are told to be registered or deleted twice, or without the other.
    """

    kills: list[Kill]
    changes: int
    told: Counter[str]
    twice: list[str]


def kill_replicas(kills: int, place: Callable[[int], Path], where: str, *, seed: int = 0) -> Killed:
    """Kill the replica that holds a registry, again and again.

    Args:
        kills: How often.
        place: The home of each replica, by its number.
        where: The registry.
        seed: Decides what is changed, and when who is killed.
    """
    chance, quiet = random.Random(seed), FORKS.RawValue(ctypes.c_int, 0)
    looking = opened(where, place(-1))
    replicas = [Replica.start(where, place(at), seed + at, quiet) for at in range(REPLICAS)]
    found, changes = [], 0
    try:
        for number in range(kills):
            until(lambda: any(one.done.value for one in replicas))
            [holder] = [one for one in replicas if one.done.value]
            time.sleep(chance.uniform(0, LONGEST_SECONDS))
            quiet.value = 1  # before anybody else can take over; what has begun goes on
            holder.kill()
            killed = time.monotonic()
            replicas.remove(holder)
            changes += holder.done.value
            active = str(looking.active)
            until(lambda active=active: all(f"v{one.served.value}" == active for one in replicas))  # type: ignore[misc]
            agreed = time.monotonic() - killed
            versions = looking.versions()
            assert not [one for one in versions if isinstance(one, DamagedVersion)]
            for version in versions:
                looking.load(version.name, SPEC)
            assert looking.active == active
            during = CHANGES[holder.doing.value] if holder.doing.value >= 0 else ""
            found.append(Kill(during, active, len(versions), agreed))
            replicas.append(Replica.start(where, place(number + REPLICAS), seed + number + REPLICAS, quiet))
            until(lambda: all(one.served.value >= 0 for one in replicas))
            quiet.value = 0
    finally:
        for one in replicas:
            one.kill()
    until(looking.hold)  # which completes the log
    entries = looking.store.entries()
    there = {version.name for version in looking.versions()}
    looking.release()
    names = {
        what: [one["version"] for one in entries if one["what"] == what] for what in ("registered", "deleted")
    }
    twice = [f"{what} {name}" for what in names for name, count in Counter(names[what]).items() if count > 1]
    twice += sorted(set(names["registered"]) ^ set(names["deleted"]) ^ there)
    return Killed(found, changes, Counter(one["what"] for one in entries), twice)


@contextlib.contextmanager
def places(s3: bool) -> Iterator[tuple[Callable[[int], Path], str]]:
    """Yield the homes of replicas and a registry: one folder of all, or a bucket and folders of their own."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if s3:
            server = stack.enter_context(running_s3())
            stack.enter_context(server.settings())
            yield lambda number: folder / f"replica{number}", f"s3://{BUCKET}/killed"
        else:
            yield lambda number: folder, str(folder)


def main(arguments: Sequence[str]) -> int:
    """Kill as often as the command line says, and print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--s3", action="store_true")
    chosen = parser.parse_args(arguments)
    with places(chosen.s3) as (place, where):
        found = kill_replicas(chosen.kills, place, where, seed=chosen.seed)
    agreed = sorted(kill.agreed for kill in found.kills)
    sys.stdout.write(
        f"{len(found.kills)} kills, during {dict(Counter(kill.during or 'nothing' for kill in found.kills))}\n"
        f"{found.changes} changes; in the log {dict(found.told)}; wrong in the log: {found.twice or 'nothing'}\n"
        f"seconds until both others agreed: median {agreed[len(agreed) // 2]:.3f}, longest {agreed[-1]:.3f}\n"
    )
    return int(bool(found.twice))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
