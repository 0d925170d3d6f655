"""A server that speaks S3, for tests: on loopback, in memory, thrown away at the end.

It is the server of moto in a process of its own, started by the module that it names for that.
"""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tests.waiting import until

BUCKET = "models"


@dataclass
class S3Server:
    """A server that answers.

    Attributes:
        process: The server.
        port: On 127.0.0.1.
    """

    process: subprocess.Popen[bytes]
    port: int

    @property
    def environment(self) -> dict[str, str]:
        """What clients have to have in their environment; the keys are nobody's."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    @contextlib.contextmanager
    def settings(self) -> Iterator[None]:
        """Put what clients need into the environment until the block ends."""
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


@contextlib.contextmanager
def running_s3() -> Iterator[S3Server]:
    """Run a server with one empty bucket until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = S3Server(process, port)
    try:
        until(lambda: _answers(port))
        with server.settings():
            _make_bucket()
        yield server
    finally:
        process.kill()
        process.wait()


def _make_bucket() -> None:
    import s3fs

    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(BUCKET)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
