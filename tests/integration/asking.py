"""What the tests ask a Flow, and how: over gRPC, as a stream, and over HTTP."""

import asyncio
import json
import os
import re
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
from docarray import DocList
from numpy.typing import NDArray

from demo.flow import RunningFlow
from executors.client import FlowClient
from executors.documents import ContentDocument, MatchDocument, PackDocument, Report, pack_to_wire, to_wire
from finetuner.documents import TAG, Document, label_of, ours
from finetuner.models import Embeddings
from finetuner.packing import unpacked
from finetuner.packs import Pack

Judged = list[tuple[str, str, float | None]]
"""Anchor, match and label, by ids."""

LONG: dict[str, Any] = {"epochs": 10_000, "patience": 10_000}
"""Options of a run that trains for longer than any test."""


def wired(documents: Iterable[Document]) -> DocList[MatchDocument]:
    """Return documents of the library as a client sends them."""
    return DocList[MatchDocument](to_wire(document) for document in documents)


def contents(blobs: NDArray[np.float32]) -> DocList[ContentDocument]:
    """Return documents of some arrays, with the ids ``c0``, ``c1`` and so on."""
    return DocList[ContentDocument](
        ContentDocument(id=f"c{number}", blob=blob) for number, blob in enumerate(blobs)
    )


def encode(client: FlowClient, blobs: NDArray[np.float32]) -> tuple[Embeddings, str]:
    """Return the embeddings of some arrays, and the one version that made them."""
    documents = client.post("/encode", contents(blobs), answer=ContentDocument)
    (version,) = {document.tags["finetuner"]["model"] for document in documents}
    return np.stack([document.embedding for document in documents]), version


def stream(client: FlowClient, endpoint: str, answer: Any = Report, **parameters: Any) -> list[Any]:
    """Return the documents of a stream, once it has ended."""

    async def collect() -> list[Any]:
        return [document async for document in client.stream(endpoint, answer=answer, **parameters)]

    return asyncio.run(collect())


def without_cursor(tags: dict[str, Any]) -> dict[str, Any]:
    """Return the tags of a document that was streamed, without its place in the stream."""
    kept = {name: value for name, value in ours(tags).items() if name != "cursor"}
    rest = {name: value for name, value in tags.items() if name != TAG}
    return {**rest, TAG: kept} if kept else rest


def feed(client: FlowClient, collection: str, *anchors: Document, **parameters: Any) -> dict[str, Any]:
    """Feed anchors, and return the report."""
    tags: dict[str, Any] = client.post("/feed", wired(anchors), collection=collection, **parameters)[0].tags
    return tags


def feed_packs(
    client: FlowClient, collection: str, packs: Iterable[Pack], **parameters: Any
) -> dict[str, Any]:
    """Feed packs, and return the report."""
    documents = DocList[PackDocument](map(pack_to_wire, packs))
    tags: dict[str, Any] = client.post("/feed_packs", documents, collection=collection, **parameters)[0].tags
    return tags


def judged(client: FlowClient, collection: str, **parameters: Any) -> Judged:
    """Return what a collection says."""
    return [
        (one.id, match.id, label_of(match))
        for one in unpacked(client.packs(collection, **parameters))
        for match in one.matches
    ]


def snapshot(client: FlowClient, collection: str, **parameters: Any) -> dict[str, Any]:
    """Read a collection, and return what exactly came."""
    packs = client.packs(collection, **parameters)
    for _ in packs:
        pass
    return packs.snapshot


def listed(client: FlowClient) -> dict[str, dict[str, Any]]:
    """Return what each collection holds."""
    return {report.id: report.tags for report in client.post("/collections")}


def tune(client: FlowClient, documents: DocList[MatchDocument] | None = None, **options: Any) -> Any:
    """Start a run, follow it to its end, and return the tags of its last event."""
    run = client.post("/fit", documents, **{"epochs": 2, **options})[0].id
    return stream(client, "/progress", run=run)[-1].tags


def first_epoch(client: FlowClient, run: str) -> None:
    """Return once a run has trained for an epoch; the stream that tells is broken off."""

    async def wait() -> None:
        async for report in client.stream("/progress", answer=Report, run=run):
            if report.tags["event"] == "epoch":
                return

    asyncio.run(wait())


def http(flow: RunningFlow, path: str, body: Any = None, method: str | None = None) -> tuple[int, Any]:
    """Return the status and the answer of an HTTP request with a JSON body."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(
        flow.http + path, data, {"Content-Type": "application/json"}, method=method
    )
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def pod(flow: RunningFlow, name: str) -> int:
    """Return the process id of one of a Flow's Executors."""
    return int(re.findall(rf"{name}/rep-0@(\d+)", flow.log.read_text())[-1])


def children(process: int) -> list[int]:
    """Return the ids of a process's children."""
    threads = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for thread in threads for child in thread.read_text().split()]


def is_running(process: int) -> bool:
    """Return whether a process is there and has not ended yet."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def group(leader: int) -> list[int]:
    """Return the ids of all running processes of a process group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found += [int(folder.name)] if os.getpgid(int(folder.name)) == leader else []
        except ProcessLookupError:
            continue
    return [process for process in found if is_running(process)]
