"""Streams of match data that break off in the middle: none looks complete, and what can go on goes on."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from executors.client import FlowClient
from executors.documents import MatchDocument
from executors.files import export, import_door
from finetuner.checksums import DocumentChecksum, PackChecksum
from finetuner.documents import ours
from finetuner.doors import Door
from finetuner.doors.refusals import Refusals
from finetuner.errors import ChangedDataError, FinetunerError, StreamError
from finetuner.packs import Pack
from tests.integration.asking import stream
from tests.integration.large import DOCUMENTS, LARGE, PACKS, SOME, Site, large_pack
from tests.readers import hanging_reader
from tests.waiting import until


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A Flow that holds the large collection."""
    site = Site(tmp_path_factory.mktemp("broken"))
    try:
        site.feed(range(PACKS))
        yield site
    finally:
        site.kill()


# servers that are killed


@dataclass(frozen=True)
class Broken:
    """What readers got of streams that were open when their server was killed.

    Attributes:
        errors: How streams ended that are not taken up again.
        exported: The files that an export has left that was being written.
        packs: All that a reader got who was patient until the server was there again.
        snapshot: What that came to.
        before: The documents that came from /emit before the kill.
        after: Those that were asked for with the cursor of the last one of them.
    """

    errors: dict[str, Exception | None]
    exported: list[Path]
    packs: list[Pack]
    snapshot: dict[str, Any]
    before: list[MatchDocument]
    after: list[MatchDocument]


def error_of(read: Callable[[], object]) -> Exception | None:
    """Return the error with which reading ends, if it does."""
    try:
        read()
    except Exception as error:  # noqa: BLE001  whatever it is, the test tells what it should be
        return error
    return None


def rest(packs: Iterator[Any]) -> Callable[[], object]:
    """Return what reads a stream to its end."""
    return lambda: [None for _ in packs]


async def emitted_until(kill: Callable[[], None], client: FlowClient, documents: list[MatchDocument]) -> None:
    """Read documents, and after the tenth kill whoever sends them."""
    async for document in client.stream("/emit", **SOME):
        documents.append(document)
        if len(documents) == 10:
            kill()


def break_off(site: Site, folder: Path, kill: Callable[[], None], restart: Callable[[], None]) -> Broken:
    """Kill a server while streams are read, start it again, and return what readers got."""
    errors: dict[str, Exception | None] = {}
    before: list[MatchDocument] = []
    hasty, patient = iter(site.client.packs("large", patience=0)), site.client.packs("large", patience=60)
    exporting = site.client.frames("/export", {"collection": "large"})
    next(hasty)
    next(exporting)
    left = iter(patient)
    packs = [next(left), next(left)]
    with ThreadPoolExecutor() as threads:
        writing = threads.submit(error_of, lambda: export(site.client, "large", folder / "out"))
        until(lambda: list(folder.glob(".out.*.part/documents.parquet")))
        errors["/emit"] = error_of(lambda: asyncio.run(emitted_until(kill, site.client, before)))
        reading = threads.submit(packs.extend, left)
        errors["/pack"] = error_of(rest(hasty))
        errors["/export"] = error_of(rest(exporting))
        errors["an export"] = writing.result()
        exported = list(folder.iterdir())
        restart()
        reading.result()
    after = stream(site.client, "/emit", MatchDocument, **SOME, cursor=ours(before[-1].tags)["cursor"])
    return Broken(errors, exported, packs, patient.snapshot, before, after)


@dataclass(frozen=True)
class Story:
    """Two kills.

    Attributes:
        flow: When the whole Flow was killed, and came back.
        executor: When the data Executor alone was killed, and came back behind the same gateway.
        packs: How many packs a stream has that is not disturbed.
        unbroken: What that comes to.
        documents: The checksum of documents that are not disturbed.
    """

    flow: Broken
    executor: Broken
    packs: int
    unbroken: dict[str, Any]
    documents: str


@pytest.fixture(scope="module")
def story(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """What happened."""
    flow = break_off(site, tmp_path_factory.mktemp("story"), site.kill, site.start)
    executor = break_off(site, tmp_path_factory.mktemp("story"), site.kill_executor, site.start_executor)
    unbroken = site.client.packs("large")
    packs = sum(1 for _ in unbroken)
    documents = digest(stream(site.client, "/emit", MatchDocument, **SOME))
    return Story(flow, executor, packs, unbroken.snapshot, documents)


def digest(documents: list[MatchDocument]) -> str:
    """Return the checksum of documents."""
    checksum = DocumentChecksum()
    for document in documents:
        checksum.add(document)
    return checksum.hexdigest()


BOTH = pytest.mark.parametrize("killed", ["flow", "executor"])


@BOTH
@pytest.mark.parametrize("what", ["/emit", "/pack", "/export", "an export"])
def test_a_stream_of_a_killed_server_never_looks_complete(story: Story, killed: str, what: str) -> None:
    """Whoever reads while the data Executor or the whole Flow is killed gets an error instead of the end."""
    assert isinstance(getattr(story, killed).errors[what], StreamError | ConnectionError)


@BOTH
def test_an_export_that_was_cut_leaves_nothing(story: Story, killed: str) -> None:
    """There is no folder, not even an incomplete one."""
    assert getattr(story, killed).exported == []


@BOTH
def test_packs_go_on_when_the_server_is_there_again(story: Story, killed: str) -> None:
    """A patient reader gets each pack once, and in the end the same as one who was not disturbed."""
    broken = getattr(story, killed)
    checksum = PackChecksum()
    for pack in broken.packs:
        checksum.add(pack)
    assert len(broken.packs) == story.packs
    assert broken.snapshot == story.unbroken
    assert checksum.hexdigest() == story.unbroken["checksum"]


@BOTH
def test_documents_go_on_behind_the_last_cursor(story: Story, killed: str) -> None:
    """What came before the kill and what is asked for with its last cursor are the whole, each document once."""
    broken = getattr(story, killed)
    assert min(len(broken.before), len(broken.after)) > 0
    assert digest([*broken.before, *broken.after]) == story.documents


def test_bringing_in_tells_what_was_accepted_before_the_service_was_lost(site: Site) -> None:
    """The error has that count, and it is there when the service is back."""

    def packs() -> Iterator[Pack]:
        yield large_pack(PACKS + 1)
        site.kill_executor()
        yield large_pack(PACKS + 2)

    with pytest.raises(
        (ConnectionError, FinetunerError),
        match=f"before that, {DOCUMENTS} judgements and {DOCUMENTS} contents",
    ):
        import_door(site.client, Door(packs(), Refusals()), "lost", "client")
    site.start_executor()
    assert [one.tags["judgements"] for one in site.client.post("/collections") if one.id == "lost"] == [
        DOCUMENTS
    ]


# clients that are killed


@dataclass(frozen=True)
class Use:
    """What a process uses.

    Attributes:
        threads: How many threads.
        files: How many open files and connections.
        memory: Bytes of memory.
    """

    threads: int
    files: int
    memory: int

    @classmethod
    def of(cls, process: int) -> "Use":
        """Look at a process."""
        status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
        files = len(list(Path(f"/proc/{process}/fd").iterdir()))
        return cls(int(status["Threads"]), files, int(status["VmRSS"].split()[0]) * 1024)

    def is_more_than(self, before: "Use") -> bool:
        """Return whether it has grown by more than a pool of threads and connections, and what malloc keeps."""
        pooled = 10
        return (
            self.threads > before.threads + pooled
            or self.files > before.files + pooled
            or self.memory > before.memory + LARGE / 2
        )


def read_and_be_killed(site: Site, readers: int) -> None:
    """Let clients begin to read, each another endpoint than the one before it, and kill them together."""
    endpoints = [("/pack", "/emit", "/export")[number % 3] for number in range(readers)]
    begun = [hanging_reader(site.address, endpoint, collection="large") for endpoint in endpoints]
    for reader in begun:
        reader.kill()
        reader.join()


def test_killed_clients_leave_nothing_behind(site: Site) -> None:
    """After twenty of them neither gateway nor data Executor has more threads, connections or packs in memory."""
    for _ in range(2):  # what is made once, such as a pool of threads or of connections, is there then
        read_and_be_killed(site, 5)
    before = [Use.of(process) for process in site.processes]
    for _ in range(4):
        read_and_be_killed(site, 5)
    assert [
        document.id
        for document in stream(site.client, "/emit", MatchDocument, collection="large", num_total=2)
    ] == ["0-0", "0-1"]

    def have_let_go() -> bool:
        return not any(Use.of(one).is_more_than(was) for one, was in zip(site.processes, before, strict=True))

    until(have_let_go, seconds=10)


# readers that are slow


@pytest.mark.parametrize("endpoint", ["/pack", "/emit"])
def test_a_slow_reader_holds_the_stream_back(site: Site, endpoint: str) -> None:
    """While a reader waits for three seconds, what it has not read does not pile up in memory on the way to it."""
    before = [Use.of(process).memory for process in site.processes]
    reader = hanging_reader(site.address, endpoint, collection="large")
    try:
        most = before
        ends = time.monotonic() + 3
        while time.monotonic() < ends:
            time.sleep(0.05)
            most = [
                max(was, Use.of(process).memory) for was, process in zip(most, site.processes, strict=True)
            ]
    finally:
        reader.kill()
        reader.join()
    assert max(now - was for now, was in zip(most, before, strict=True)) < LARGE / 3


# data that is deleted


@pytest.fixture
def fed_again(site: Site) -> Iterator[None]:
    """Feed again what a test has deleted."""
    yield
    site.feed([PACKS - 1])


def test_a_deletion_ends_the_streams_that_are_open(site: Site, fed_again: None) -> None:
    """Their last frame says that the data has changed, however far they have come."""
    packs = iter(site.client.packs("large"))
    next(packs)

    async def emitted() -> None:
        documents = 0
        async for _ in site.client.stream("/emit", **SOME):
            documents += 1
            if documents == 10:
                site.client.post("/delete", collection="large", ids=[f"{PACKS - 1}-0"])

    for read in (lambda: asyncio.run(emitted()), rest(packs)):
        with pytest.raises(ChangedDataError, match="documents were deleted while it was read; begin again"):
            read()


def test_a_cursor_does_not_outlive_a_deletion(site: Site) -> None:
    """A stream that goes on there would hide that what came before is no longer what was sent."""
    site.feed([PACKS], collection="small")
    first, *_ = stream(site.client, "/emit", MatchDocument, collection="small")
    pack, _ = next(site.client.frames("/pack", {"collection": "small"}))
    site.client.post("/delete", collection="small", ids=[f"{PACKS}-0"])
    for endpoint, frame in (("/emit", first), ("/pack", pack)):
        with pytest.raises(ChangedDataError, match="no longer what was sent"):
            stream(site.client, endpoint, type(frame), collection="small", cursor=ours(frame.tags)["cursor"])
