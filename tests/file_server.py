"""A small file server on loopback that breaks off, ignores ranges or refuses, as it is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """What the server has, how it behaves and what it was asked.

    Attributes:
        files: Contents by path, e.g. ``/a.gz``.
        break_after: For each coming answer in turn, how many bytes it sends before it breaks off.
        ranges: Whether it goes on from an offset when asked to.
        etag: Sent with each answer, if not empty.
        says_length: Whether it says how long the file is.
        asked: The ``Range`` of each request so far, or an empty text.
        url: Where it is.
    """

    files: dict[str, bytes]
    break_after: list[int] = field(default_factory=list)
    ranges: bool = True
    etag: str = ""
    says_length: bool = True
    asked: list[str] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def running(self) -> Iterator["FileServer"]:
        """Serve from a thread."""
        handler = type("Handler", (_Handler,), {"state": self})
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            self.url = f"http://127.0.0.1:{server.server_port}"
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: FileServer

    def do_GET(self) -> None:
        state = self.state
        wanted = self.headers.get("Range", "")
        state.asked.append(wanted)
        content = state.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        unchanged = self.headers.get("If-Range", state.etag) == state.etag
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges and unchanged else 0
        if start >= len(content) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if state.says_length:
            self.send_header("Content-Length", str(len(content) - start))
        if state.etag:
            self.send_header("ETag", state.etag)
        self.end_headers()
        end = start + state.break_after.pop(0) if state.break_after else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
