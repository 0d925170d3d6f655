"""Kill -9 while four clients feed: what was acknowledged is there, once, whatever was killed and when.

    python -m tests.kill_feeding --kills 200                  on SQLite
    python -m tests.kill_feeding --kills 200 --postgresql
    python -m tests.kill_feeding --kills 200 --kill-server    PostgreSQL, which is killed too

A MatchDataExecutor answers over gRPC. At a random moment after its clients began to be answered it is killed, and
started again on the same database; a client sends again what was not acknowledged. At the end the log is read.
"""

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from executors.client import FlowClient
from finetuner.errors import MatchDataError
from finetuner.packs import Pack
from finetuner.store import MatchStore
from tests.feeders import CLIENTS, COLLECTION, FORKS, Judgement, Shared, feed, judged, serve
from tests.postgresql import PostgreSQL, free_port, running_postgresql
from tests.waiting import until

LONGEST_SECONDS = 0.5
"""Between the first answers and the kill."""

JUDGEMENTS = len(judged(0, 0))
"""In each feed."""


@dataclass(frozen=True)
class Kill:
    """One kill, and what came after it.

    Attributes:
        number: Which one, from 1.
        what: What was killed.
        after: Seconds between the first answers to clients and the kill.
        restart: Seconds until everything answered again.
        acknowledged: Judgements that had been acknowledged when the new Executor was asked how many there are.
        there: What it answered.
        sent: The judgements of all feeds that had been sent by then.
    """

    number: int
    what: str
    after: float
    restart: float
    acknowledged: int
    there: int
    sent: int


@dataclass(frozen=True)
class Outcome:
    """What is left in the end.

    Attributes:
        kills: All kills.
        acknowledged: Feeds that were acknowledged.
        unacknowledged: Feeds that were not acknowledged when they were sent first, but cut or refused.
        stored: How many of those had been stored all the same.
        errors: How often a feed was answered with an error.
        there: Judgements in the log.
        lost: Those that were acknowledged, and are not in the log or not emitted.
        twice: Those that are in the log more than once.
        unsent: Those in the log that nobody sent.
    """

    kills: list[Kill]
    acknowledged: int
    unacknowledged: int
    stored: int
    errors: int
    there: int
    lost: list[Judgement]
    twice: list[Judgement]
    unsent: list[Judgement]

    @property
    def is_sound(self) -> bool:
        """Whether nothing was wrong after any kill, nor in the end."""
        each = all(kill.acknowledged <= kill.there <= kill.sent for kill in self.kills)
        return each and not (self.lost or self.twice or self.unsent)


class KilledFeeding:
    """An Executor that is killed and started again, and its clients.

    Args:
        url: The database.
        folder: For logs.
        server: The server of the database, if it is to be killed too.
        seed: Decides the moments.
        tell: Gets each kill as it is over.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        server: PostgreSQL | None = None,
        seed: int = 0,
        tell: Callable[[Kill], None] = lambda _: None,
    ) -> None:
        self._url = url
        self._folder = folder
        self._server = server
        self._random = random.Random(seed)
        self._tell = tell
        self._shared = Shared()
        self._clients: list[ForkServerProcess] = []
        self._executor, self._flow = self._start()

    def run(self, kills: int) -> Outcome:
        """Kill so often, and look at what is left."""
        try:
            for client in range(CLIENTS):
                process = FORKS.Process(target=feed, args=(client, self._shared, self._folder), daemon=True)
                process.start()
                self._clients.append(process)
            done = [self._kill(number) for number in range(kills)]
            self._wait_for_answers()
            self._shared.enough.value = 1
            until(lambda: not any(client.is_alive() for client in self._clients))
        finally:
            for process in (*self._clients, self._executor):
                process.kill()
                process.join()
        return self._look(done)

    def _start(self) -> tuple[ForkServerProcess, FlowClient]:
        # each time at another port: gRPC takes a second until it tries again one that has refused it
        port = free_port()
        process = FORKS.Process(target=serve, args=(self._url, port, self._folder), daemon=True)
        process.start()
        flow = FlowClient(f"grpc://127.0.0.1:{port}")
        try:
            flow.wait_until_ready(60)
        except ConnectionError as error:
            raise RuntimeError(f"the Executor does not start:\n{self._logs()}") from error
        self._shared.port.value = port
        return process, flow

    def _kill(self, number: int) -> Kill:
        self._wait_for_answers()
        after = self._random.uniform(0, LONGEST_SECONDS)
        time.sleep(after)
        # an Executor must also live on with a database that was away
        with_executor = self._server is None or number % 2 == 0
        if with_executor:
            self._executor.kill()
        if self._server is not None:
            self._server.kill()
        killed = time.monotonic()
        if self._server is not None:
            self._server.start()
        if with_executor:
            self._executor.join()
            self._executor, self._flow = self._start()
        restart = time.monotonic() - killed
        acknowledged = sum(self._shared.kept[:]) * JUDGEMENTS
        there = self._count()
        sent = (sum(self._shared.kept[:]) + CLIENTS) * JUDGEMENTS  # of each client one feed may be under way
        what = ["Executor"] * with_executor + ["database server"] * (self._server is not None)
        kill = Kill(number + 1, " + ".join(what), after, restart, acknowledged, there, sent)
        self._tell(kill)
        return kill

    def _wait_for_answers(self) -> None:
        before = self._shared.kept[:]

        def each_got_one() -> bool:
            if not all(client.is_alive() for client in self._clients):
                raise RuntimeError(f"a client has ended:\n{self._logs()}")
            return all(now > then for now, then in zip(self._shared.kept[:], before, strict=True))

        until(each_got_one)

    def _count(self) -> int:
        counts: list[int] = []

        def told() -> list[int]:
            with contextlib.suppress(
                MatchDataError
            ):  # its connections to a database that was killed are dead
                reports = self._flow.post("/collections")
                counts.extend(int(one.tags["judgements"]) for one in reports if one.id == COLLECTION)
            return counts

        until(told)
        return counts[0]

    def _logs(self) -> str:
        return "\n".join(
            log.read_text(errors="replace")[-2000:] for log in sorted(self._folder.glob("*.log"))
        )

    def _look(self, kills: list[Kill]) -> Outcome:
        with closing(MatchStore(self._url)) as store:
            logged = Counter(
                (one.source, *pair) for one in store.log(COLLECTION) for pair in _pairs(one.pack)
            )
            emitted = {pair for pack in store.packs(COLLECTION, standalone=True) for pair in _pairs(pack)}
        kept = self._shared.kept[:]
        acknowledged = {
            judgement
            for client, count in enumerate(kept)
            for number in range(count)
            for judgement in judged(client, number)
        }
        return Outcome(
            kills=kills,
            acknowledged=sum(kept),
            unacknowledged=sum(self._shared.cut[:]),
            stored=sum(self._shared.found[:]),
            errors=sum(self._shared.told[:]),
            there=logged.total(),
            lost=sorted(one for one in acknowledged if one not in logged or one[1:] not in emitted),
            twice=sorted(judgement for judgement, times in logged.items() if times > 1),
            unsent=sorted(logged.keys() - acknowledged),
        )


def _pairs(pack: Pack) -> Iterator[tuple[str, str, float]]:
    for number, anchor in enumerate(pack.anchors):
        for place in range(pack.offsets[number], pack.offsets[number + 1]):
            yield pack.ids[anchor], pack.ids[pack.matches[place]], float(pack.labels[place])


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill as often as the command line says, print what came of it, and return 1 if anything was wrong."""
    parser = argparse.ArgumentParser("python -m tests.kill_feeding", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="how often (default: 20)")
    parser.add_argument("--url", help="the database (default: SQLite in a temporary folder)")
    parser.add_argument("--postgresql", action="store_true", help="PostgreSQL in a temporary folder")
    parser.add_argument("--kill-server", action="store_true", help="the same, and kill it too, each time")
    parser.add_argument("--seed", type=int, default=0, help="decides the moments (default: 0)")
    given = parser.parse_args(arguments)
    if given.url and (given.postgresql or given.kill_server):
        parser.error("--url names a database that is there; --postgresql and --kill-server start their own")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kill-feeding-")))
        url, server = given.url or f"sqlite:///{folder / 'matches.db'}", None
        if given.postgresql or given.kill_server:
            server = stack.enter_context(running_postgresql())
            url = stack.enter_context(server.database())
        killed = server if given.kill_server else None
        _print("kill  after    back in  acknowledged    there     sent  killed")
        feeding = KilledFeeding(url, folder, server=killed, seed=given.seed, tell=_print_kill)
        outcome = feeding.run(given.kills)
    _print_outcome(outcome)
    return 0 if outcome.is_sound else 1


def _print_kill(kill: Kill) -> None:
    _print(
        f"{kill.number:4}  {kill.after:5.3f} s  {kill.restart:5.2f} s  {kill.acknowledged:12}  "
        f"{kill.there:7}  {kill.sent:7}  {kill.what}"
    )


def _print_outcome(outcome: Outcome) -> None:
    counts = {
        "kills": len(outcome.kills),
        "feeds acknowledged": outcome.acknowledged,
        "feeds unacknowledged": outcome.unacknowledged,
        "  and stored": outcome.stored,
        "errors answered": outcome.errors,
        "judgements there": outcome.there,
        "lost": len(outcome.lost),
        "twice": len(outcome.twice),
        "never sent": len(outcome.unsent),
    }
    for name, count in counts.items():
        _print(f"{name:22}{count:8}")
    for judgement in (outcome.lost + outcome.twice + outcome.unsent)[:20]:
        _print(f"wrong: {judgement}")


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
