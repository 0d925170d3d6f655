"""An Executor whose streams go wrong, and a Flow with it behind our gateway."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, AsyncIterator  # noqa: UP035  jina knows no other one

from jina import Executor, requests

from demo.flow import RunningFlow, running_flow
from executors.documents import Report, StreamRequest
from executors.streams import framed
from finetuner.errors import SourceError

ROOT = Path(__file__).parents[2]


class TrapExecutor(Executor):
    """Streams that go wrong; a file tells what became of them.

    Args:
        diary: The file.
        kwargs: Jina's own.
    """

    def __init__(self, diary: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._diary = Path(diary)

    @requests(on="/broken", request_schema=StreamRequest, response_schema=Report)
    async def broken(self, doc: StreamRequest, **_: Any) -> AsyncIterator[Report]:
        """Stream two reports and fail in a way that nobody foresaw."""
        self._note("broken")
        async for report in framed(self._reports(RuntimeError("a bug")), Report):
            yield report

    @requests(on="/damaged", request_schema=StreamRequest, response_schema=Report)
    async def damaged(self, doc: StreamRequest, **_: Any) -> AsyncIterator[Report]:
        """Stream two reports and fail with an error of Finetuner."""
        self._note("damaged")
        async for report in framed(self._reports(SourceError("page 3 is torn")), Report):
            yield report

    @requests(on="/silent", request_schema=StreamRequest, response_schema=Report)
    async def silent(self, doc: StreamRequest, **_: Any) -> AsyncIterator[Report]:
        """Stream two reports, and end without saying so."""
        yield Report(id="1", tags={})
        yield Report(id="2", tags={})

    @requests(on="/endless", request_schema=StreamRequest, response_schema=Report)
    async def endless(self, doc: StreamRequest, **_: Any) -> AsyncIterator[Report]:
        """Stream reports until nobody listens any more."""
        try:
            while True:
                yield Report(id="again", tags={})
        finally:
            self._note("closed")

    async def _reports(self, error: Exception) -> AsyncIterator[Report]:
        yield Report(id="1", tags={})
        yield Report(id="2", tags={})
        raise error

    def _note(self, what: str) -> None:
        with self._diary.open("a") as diary:
            diary.write(f"{what}\n")


@contextmanager
def trap_flow(folder: Path, *, executors: int = 1) -> Iterator[RunningFlow]:
    """Run a Flow of our gateway, with gRPC alone, and trap Executors, all of which bind the same endpoints."""
    one = f"""
  - name: trap{{}}
    uses: tests.integration.traps.TrapExecutor
    port: 5101{{}}
    uses_with: {{{{diary: {folder / 'diary'}}}}}"""
    topology = folder / "traps.yml"
    topology.write_text(
        "jtype: Flow\nwith: {protocol: [grpc], port: [51000], timeout_ctrl: 10000}\n"
        "gateway: {uses: executors.gateway.FlowGateway}\nexecutors:"
        + "".join(one.format(number, number) for number in range(executors))
    )
    environment = {"PYTHONPATH": str(ROOT)}
    with running_flow(folder, topology=topology, free_ports=True, environment=environment) as flow:
        yield flow
