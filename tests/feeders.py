"""An Executor and its clients as processes that are started quickly and killed: for :mod:`tests.kill_feeding`."""

import multiprocessing
import os
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized, SynchronizedArray
from pathlib import Path

from docarray import DocList
from jina.parsers import set_pod_parser
from jina_cli.api import executor  # type: ignore[import-untyped]

from executors.client import FlowClient
from executors.documents import MatchDocument, to_wire
from finetuner.documents import Document, labelled
from finetuner.errors import MatchDataError

CLIENTS = 4
COLLECTION = "killed"
EXECUTOR = Path(__file__).parents[1] / "executors" / "match_data.yml"

FORKS = multiprocessing.get_context("forkserver")
"""Each process is a fork of one in which everything is imported already."""
FORKS.set_forkserver_preload(["executors.match_data", "tests.feeders"])

Judgement = tuple[str, str, str, float]
"""Source, anchor, match, label."""


def source(client: int) -> str:
    """Return as whom a client judges."""
    return f"client-{client}"


def fed(client: int, number: int) -> list[Document]:
    """Return a feed: an anchor of its client that comes again, one of all clients, and a match of all of them."""
    label = (1.0, -1.0, 0.5)[number % 3]

    def match(name: str) -> Document:
        return Document(f"text of {name}", tags=labelled({}, label), id=name)

    own = f"anchor-{client}-{number // 4}"
    matches = [match(f"{client}-{number}-a"), match(f"{client}-{number}-b"), match(f"common-{number % 4}")]
    of_all = match(f"{client}-{number}-c")
    return [Document(own, matches=matches, id=own), Document("all", matches=[of_all], id="all")]


def judged(client: int, number: int) -> list[Judgement]:
    """Return the judgements of a feed."""
    return [
        (source(client), anchor.id, match.id, match.tags["finetuner"]["label"])
        for anchor in fed(client, number)
        for match in anchor.matches
    ]


@dataclass(frozen=True)
class Shared:
    """What the processes tell each other.

    Attributes:
        port: Where the Executor answers that was started last.
        enough: Whether the clients are to stop.
        kept: For each client, how many feeds were acknowledged: only then it goes on to the next one.
        cut: For each client, how many feeds were not acknowledged at once, and sent again.
        found: For each client, how many of those were there already when they came again.
        told: For each client, how often it was answered with an error.
    """

    port: "Synchronized[int]" = field(default_factory=lambda: FORKS.Value("q", 0))
    enough: "Synchronized[int]" = field(default_factory=lambda: FORKS.Value("q", 0))
    kept: "SynchronizedArray[int]" = field(default_factory=lambda: FORKS.Array("q", CLIENTS))
    cut: "SynchronizedArray[int]" = field(default_factory=lambda: FORKS.Array("q", CLIENTS))
    found: "SynchronizedArray[int]" = field(default_factory=lambda: FORKS.Array("q", CLIENTS))
    told: "SynchronizedArray[int]" = field(default_factory=lambda: FORKS.Array("q", CLIENTS))


def serve(url: str, port: int, folder: Path) -> None:
    """Run what ``jina executor`` runs: a MatchDataExecutor behind gRPC."""
    _settle_in(folder / "executor.log")
    multiprocessing.set_start_method(
        "fork", force=True
    )  # semaphores of other kinds are left over after a kill
    uses = ["--uses", str(EXECUTOR), "--uses-with", f"url:{url}", "--workspace", str(folder)]
    where = ["--host", "127.0.0.1", "--port", str(port)]
    executor(set_pod_parser().parse_args(["--native", *uses, *where]))


def feed(client: int, shared: Shared, folder: Path) -> None:
    """Feed one feed after the other, each as often as it takes until it is acknowledged."""
    _settle_in(folder / f"{source(client)}.log")
    os.environ["JINA_LOG_LEVEL"] = "CRITICAL"  # that nobody answers is no news here
    number, is_again = 0, False
    while not shared.enough.value:
        documents = DocList[MatchDocument](to_wire(document) for document in fed(client, number))
        flow = FlowClient(f"grpc://127.0.0.1:{shared.port.value}")
        try:
            (report,) = flow.post("/feed", documents, collection=COLLECTION, source=source(client))
        except (ConnectionError, MatchDataError) as error:
            # with an error of ours the Executor lives, and its database does not
            shared.told[client] += isinstance(error, MatchDataError)
            shared.cut[client] += not is_again
            is_again = True
            time.sleep(0.02)
        else:
            shared.found[client] += is_again and report.tags["known"] > 0
            number, is_again = number + 1, False
            shared.kept[client] = number


def _settle_in(log: Path) -> None:
    """Write into a log what is printed, and end with the process that started this one."""
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ["JINA_OPTOUT_TELEMETRY"] = "1"
    parent = multiprocessing.parent_process()
    assert parent is not None, "it is started as a process of its own"

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
