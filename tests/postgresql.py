"""A PostgreSQL server for tests: on loopback, in a temporary folder, as durable as a real one, thrown away at the end.

Only the binaries of a package are used; a server that the system may run is not touched.
"""

import contextlib
import ctypes
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg

from tests.waiting import until

INSTALL = (
    "apt-get install postgresql (Debian, Ubuntu), or put initdb and postgres, version 15 or newer, on PATH"
)
"""What to do where there are no binaries."""

START_SECONDS = 60

_LIBC = ctypes.CDLL(None)
_SET_PARENT_DEATH_SIGNAL = 1


class PostgreSQLMissingError(Exception):
    """There are no binaries to start a server with."""


def binaries() -> Path:
    """Return the folder that holds ``initdb`` and ``postgres``: on PATH, or where Debian keeps them.

    Raises:
        PostgreSQLMissingError: If there is none.
    """
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    on_path = shutil.which("initdb")
    for folder in [Path(on_path).resolve().parent] if on_path else debian[::-1]:
        if (folder / "postgres").exists():
            return folder
    raise PostgreSQLMissingError(f"no PostgreSQL server is installed; {INSTALL}")


@dataclass
class PostgreSQL:
    """A server that can be killed and started again.

    Attributes:
        folder: Where its data lie.
        binaries: The folder of its programs.
        owner: Who runs it: None for whoever runs the tests. It refuses to be run by root.
        port: On 127.0.0.1, where everybody is trusted.
        process: The postmaster, whose children do the work.
    """

    folder: Path
    binaries: Path
    owner: str | None
    port: int
    process: subprocess.Popen[bytes] | None = None
    _number: Iterator[int] = field(default_factory=count)

    def url(self, name: str = "postgres") -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """Return once it answers; after a kill that is when it has recovered from its log.

        Raises:
            RuntimeError: If it ends instead.
        """
        options = [f"--port={self.port}", "--listen_addresses=127.0.0.1", "--unix_socket_directories="]
        small = ["--shared_buffers=32MB", "--max_wal_size=256MB", "--recovery_init_sync_method=syncfs"]
        self.process = self._popen("postgres", "-D", str(self.folder / "data"), *options, *small)
        until(self._answers, seconds=START_SECONDS)

    def kill(self) -> None:
        """End it and all of its processes with SIGKILL, in the middle of whatever they do."""
        assert self.process is not None, "it runs"
        # stopped, it cannot start anything while its children are looked up
        self.process.send_signal(signal.SIGSTOP)
        workers = _children(self.process.pid)
        for process in (self.process.pid, *workers):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()
        # while one of them is left, a new server refuses to start
        until(lambda: not any(_is_running(worker) for worker in workers))

    def stop(self) -> None:
        """End it at once; what it holds need not be kept."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(START_SECONDS)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Make an empty database, and drop it at the end; gives its URL."""
        name = f"test_{next(self._number)}"
        self._execute(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def make(self) -> None:
        """Make the files of a new server, sorting texts as most servers do: not by their bytes."""
        texts = ["--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"]
        self.folder.chmod(0o700)
        if self.owner:
            shutil.chown(self.folder, self.owner)
        made = self._popen(
            "initdb", "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust", "-N", *texts
        )
        if made.wait(START_SECONDS):
            raise RuntimeError(f"initdb ended with {made.returncode}:\n{self._said()}")

    def _popen(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                [self.binaries / program, *arguments],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                user=self.owner,
                group=None if self.owner is None else pwd.getpwnam(self.owner).pw_gid,
                extra_groups=None if self.owner is None else [],
                start_new_session=True,  # Ctrl-C is for the tests, which then end it
                preexec_fn=_end_with_the_tests if sys.platform == "linux" else None,
            )

    def _answers(self) -> bool:
        assert self.process is not None, "it was started"
        if self.process.poll() is not None:
            raise RuntimeError(f"postgres ended with {self.process.returncode}:\n{self._said()}")
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url()):
            return True
        time.sleep(0.01)
        return False

    def _said(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")[-3000:]

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement.encode())


@contextlib.contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    """Run a server until the block ends; nothing of it is left over.

    Raises:
        PostgreSQLMissingError: If there are no binaries.
        RuntimeError: If it does not start.
    """
    programs = binaries()
    # not in pytest's folder, into which only who runs the tests may look
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        server = PostgreSQL(Path(folder), programs, _owner(), free_port())
        server.make()
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _owner() -> str | None:
    if os.geteuid():
        return None
    names = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now, and still is when somebody who listened there was killed."""
    while True:
        # below those that the system hands out: a client could be given one of them meanwhile
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def _end_with_the_tests() -> None:
    """Let the server end when the tests are killed, which then cannot end it."""
    _LIBC.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGQUIT)


def _children(process: int) -> list[int]:
    threads = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for thread in threads for child in thread.read_text().split()]


def _is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # nobody may be there to ask how it ended
