"""The speed of emission: 2,000 Fashion-MNIST anchors with 20 matches each, out of the store and through the gateway.

Packs are held against a plain ``DocList`` answer of the same match Documents, from a Jina Flow without anything of ours
in it, and against a bare gRPC stream of the same bytes, in turns. What forwarding those bytes once and hashing them takes
is measured too: packs cannot do with less. All of it happens on one machine, over loopback.
"""

import contextlib
import hashlib
import json
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from docarray import DocList
from jina import Client
from jina.proto import jina_pb2

from benchmarks._bare_stream import METHOD
from demo.flow import RunningFlow, running_flow
from executors.client import FlowClient
from executors.documents import MatchDocument, PackDocument, Report, StreamRequest, pack_to_wire
from finetuner.documents import label_of
from finetuner.packing import packed, unpacked
from finetuner.packs import Pack
from finetuner.sources import emit

MADE, FED = "fashion_mnist", "fed"
ROUNDS = 5
TIMES = 7  # of what takes milliseconds, in each round

PLAIN_FLOW = f"""
jtype: Flow
version: '1'
with: {{protocol: [grpc, http], port: [51000, 51001], host: 127.0.0.1}}
executors:
  - name: plain
    uses: PlainExecutor
    py_modules: [{Path(__file__).parent / '_plain_executor.py'}]
    uses_with: {{collection: {MADE}}}
    port: 51010
    host: 127.0.0.1
"""


def main() -> None:
    """Run all three, check that they carry the same, and print the figures."""
    with contextlib.ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        flow = running.enter_context(running_flow(folder / "ours", free_ports=True))
        feed(flow.client)
        messages = list(raw(flow))
        (folder / "messages").write_bytes(pickle.dumps(messages))
        bare = running.enter_context(bare_stream(str(folder / "messages")))
        forwarded = running.enter_context(bare_stream("--forward", str(bare)))
        (folder / "plain.yml").write_text(PLAIN_FLOW)
        plain = running.enter_context(
            running_flow(folder / "plain", topology=folder / "plain.yml", free_ports=True)
        )
        assert list(streamed(forwarded)) == messages
        anchors = check(list(flow.client.packs(FED)), answered(plain), list(streamed(bare)), messages)
        first = cold(flow.client, anchors)
        rounds = [measured(flow, plain, bare, forwarded, messages) for _ in range(ROUNDS)]
    report(rounds, anchors=anchors, nbytes=sum(map(len, messages)), cold=first)


def feed(client: FlowClient) -> None:
    """Store the made collection under another name."""
    for pack in packed(emit(MADE, {}), standalone=True):
        client.post("/feed_packs", DocList[PackDocument]([pack_to_wire(pack)]), collection=FED)


def raw(flow: RunningFlow) -> Iterator[bytes]:
    """Yield the messages of the packed stream as they come through the gateway, undecoded."""
    request = jina_pb2.SingleDocumentRequestProto()
    request.header.exec_endpoint = "/pack"
    request.document.CopyFrom(StreamRequest(parameters={"collection": FED}).to_protobuf())
    yield from call(
        flow.ports[0], "/jina.JinaSingleDocumentRequestRPC/stream_doc", request.SerializeToString()
    )


def call(port: int, method: str, request: bytes) -> Iterator[bytes]:
    """Yield the messages of a stream over a connection of its own, as every one of our streams has."""
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        yield from channel.unary_stream(method)(request, metadata=(("endpoint", "/pack"),))


def streamed(port: int) -> Iterator[bytes]:
    """Yield the messages of the bare stream."""
    return call(port, METHOD, b"")


@contextlib.contextmanager
def bare_stream(*arguments: str) -> Iterator[int]:
    """Run a bare service in a process of its own, and return the port."""
    command = [sys.executable, "-m", "benchmarks._bare_stream", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def answered(plain: RunningFlow) -> DocList[MatchDocument]:
    """Return what the plain Executor answers."""
    client = Client(host=f"grpc://127.0.0.1:{plain.ports[0]}")
    return client.post("/matches", DocList[Report]([Report()]), return_type=DocList[MatchDocument])


def check(
    packs: list[Pack], documents: Iterable[MatchDocument], bare: list[bytes], messages: list[bytes]
) -> int:
    """Assert that all carry the same match data, and return the number of anchors."""
    ours, theirs = list(unpacked(packs)), list(documents)
    assert [anchor.id for anchor in ours] == [anchor.id for anchor in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        for one, two in zip((mine, *mine.matches), (other, *other.matches), strict=True):
            assert (one.id, label_of(one)) == (two.id, label_of(two))
            assert np.array_equal(np.asarray(one.blob), np.asarray(two.blob))
    assert [len(message) for message in bare] == [len(message) for message in messages]
    assert bare == messages
    return len(ours)


def seconds(run: Callable[[], Iterable[Any]], times: int = TIMES) -> float:
    """Return how long it takes to read all of something, median of several times."""
    took = []
    for _ in range(times):
        started = time.perf_counter()
        for _ in run():
            pass
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def cold(client: FlowClient, anchors: int) -> float:
    """Return how long a stream takes that nobody has read before: the first that is asked for by its number of anchors."""
    return seconds(lambda: client.packs(FED, num_total=anchors), times=1)


def summed(messages: list[bytes]) -> Iterator[None]:
    """Hash messages, as a reader of packs and nobody else has to."""
    checksum = hashlib.sha256()
    for message in messages:
        checksum.update(message)
        yield


def measured(
    flow: RunningFlow, plain: RunningFlow, bare: int, forwarded: int, messages: list[bytes]
) -> dict[str, float]:
    """Return the seconds of one round."""
    return {
        "packs": seconds(lambda: flow.client.packs(FED)),
        "bare": seconds(lambda: streamed(bare)),
        "forwarded": seconds(lambda: streamed(forwarded)),
        "summed": seconds(lambda: summed(messages)),
        "undecoded": seconds(lambda: raw(flow)),
        "documents": seconds(lambda: answered(plain), times=1),
    }


def report(rounds: list[dict[str, float]], *, anchors: int, nbytes: int, cold: float) -> None:
    """Print a table and the figures."""
    names = {
        "packs": "packs, checked, through the gateway",
        "undecoded": "the same, not decoded",
        "bare": "bare gRPC stream of the same bytes",
        "forwarded": "the same, forwarded by another process",
        "summed": "SHA-256 of the same bytes, no stream",
        "documents": "plain DocList answer",
    }
    print(
        f"{anchors} anchors, {nbytes / 1e6:.2f} MB packed; seconds, median of {ROUNDS} rounds (least to most)"
    )
    for name, what in names.items():
        took = [one[name] for one in rounds]
        speed = f"{anchors / statistics.median(took):>10.0f} anchors/s {nbytes / statistics.median(took) / 1e6:>7.0f} MB/s"
        spread = f"({min(took):.4f} to {max(took):.4f})"
        print(
            f"{what:<40}{statistics.median(took):>9.4f} {spread:<20}{speed if name != 'documents' else speed[:20]}"
        )
    print(f"{'packs that nobody has read before':<40}{cold:>9.4f}")
    ratios = {
        f"vs_{theirs}": sorted(one[against] / one["packs"] for one in rounds)
        for theirs, against in (("documents", "documents"), ("bytes", "bare"))
    }
    figures: dict[str, Any] = {"benchmark": "emission"}
    for name, found in ratios.items():
        figures |= {
            name: round(statistics.median(found), 3),
            f"{name}_spread": [round(found[0], 3), round(found[-1], 3)],
        }
    figures["packs_per_second"] = round(anchors / statistics.median(one["packs"] for one in rounds))
    figures["cold_seconds"] = round(cold, 4)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
