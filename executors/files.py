"""Files of a client on their way into a collection of a service, and back."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from docarray import DocList

from executors.client import FlowClient
from executors.documents import PackDocument, pack_from_wire, pack_to_wire
from finetuner.doors import Door, Roles, open_door
from finetuner.doors.export import Exported, read_export, write_export
from finetuner.importing import bring_back, bring_in
from finetuner.packs import Feed, Pack, Refusal
from finetuner.store import FeedReport


def import_file(
    client: FlowClient, path: str | Path, *, collection: str = "default", source: str = "client", **roles: Any
) -> FeedReport:
    """Bring a file of match data into a collection.

    It is read here and sent pack by pack; what has been accepted is on disk there. Doing it again changes nothing.

    Args:
        client: Of the service.
        path: CSV with a header, TSV, JSON Lines or Parquet.
        collection: Where it goes.
        source: Who judges: a person, a rule, a data set.
        roles: What its columns are, see :class:`finetuner.doors.Roles`.

    Returns:
        What was accepted, known already, contradicts what was said before, or was refused and why.

    Raises:
        OptionError: If the roles do not fit together.
        FinetunerError: What is wrong with the file, with its place; the message tells what was accepted before.
        ConnectionError: If nobody answers any more; in the same way.
    """
    return import_door(client, open_door(Path(path), Roles.parse(roles, where=str(path))), collection, source)


def import_door(client: FlowClient, door: Door, collection: str, source: str) -> FeedReport:
    """Bring what a door reads into a collection, such as that of :func:`finetuner.doors.read_qrels`."""

    def feed(pack: Pack) -> FeedReport:
        return _feed(client, pack, collection=collection, source=source)

    return bring_in(door, feed)


def import_export(client: FlowClient, folder: str | Path, *, collection: str) -> FeedReport:
    """Bring an exported folder into a collection, with its sources and times; a new one becomes equal.

    Raises:
        SourceError: If the folder is incomplete or damaged; the message tells what was accepted before.
        ConnectionError: If nobody answers any more; in the same way.
    """

    def feed(one: Feed) -> FeedReport:
        when = {"source": one.source, "at": one.at.isoformat()}
        return _feed(client, one.pack, collection=collection, **when)

    return bring_back(read_export(Path(folder)), feed)


def export(
    client: FlowClient,
    collection: str,
    folder: str | Path,
    *,
    format: Literal["parquet", "jsonl"] = "parquet",
) -> Exported:
    """Write everything that was ever fed to a collection into a new folder, as two tables.

    Raises:
        OptionError: If the folder is there.
        UnknownCollectionError: If there is no such collection.
        StreamError: If the stream was cut; there is no folder then.
        ConnectionError: If nobody answers, or no longer; nor is there one then.
    """
    return write_export(_feeds(client, collection), Path(folder), format)


def _feed(client: FlowClient, pack: Pack, **parameters: Any) -> FeedReport:
    [report] = client.post("/feed_packs", DocList[PackDocument]([pack_to_wire(pack)]), **parameters)
    counts = {name: int(count) for name, count in report.tags.items() if name != "refusals"}
    return FeedReport(**counts, refusals=tuple(Refusal(**one) for one in report.tags["refusals"]))


def _feeds(client: FlowClient, collection: str) -> Iterator[Feed]:
    """Yield what ``/export`` streams; writing holds the stream back."""
    for document, end in client.frames("/export", {"collection": collection}):
        if end is not None:
            return
        told = document.tags
        yield Feed(told["source"], datetime.fromisoformat(told["at"]), pack_from_wire(document))
