"""Downloads on request: resumed where they broke off, checked, and never half there.

A file is written aside, as ``<name>.part``, checked, and only then renamed. So what bears the name is complete,
whatever happened to the process, the disk or the line.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import cast
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from finetuner.errors import SourceError
from finetuner.release import __version__

_ATTEMPTS = 5
_CHUNK = 1 << 16  # bytes
_TIMEOUT = 30.0  # seconds without a byte

Check = Callable[[Path], object]
"""Looks into a finished file, and raises SourceError if it is not what it should be."""


def download(url: str, target: Path, *, md5: str | None = None, check: Check | None = None) -> Path:
    """Make sure that a file is there, complete and right, and download it if it is not.

    Processes that ask for the same folder wait for each other. An unfinished ``.part`` of an earlier call is gone
    on with only where an MD5 will tell whether the whole is right.

    Args:
        url: Where it is, ``http://`` or ``https://``; the environment's proxies are used.
        target: Where it goes; missing folders are made.
        md5: What its MD5 must be, in hexadecimal, where that is known.
        check: A further check of the content.

    Returns:
        The target.

    Raises:
        SourceError: If it cannot be had, or is not what it should be.
    """
    if not url.startswith(("http://", "https://")):
        raise SourceError(f"{url}: only http:// and https:// can be downloaded")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(target.parent):
            if not target.exists() or _fault_of(target, md5, check) is not None:
                part = target.with_name(f"{target.name}.part")
                _fill(url, part, md5, check)
                part.replace(target)
    except SourceError as error:
        raise SourceError(
            f"{error}; go on with the bundled sample (no download), or put the file at {target} yourself"
        ) from error
    except OSError as error:
        raise SourceError(f"{target}: the file cannot be written: {error.strerror}") from error
    return target


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder: a file written by two at once would be a mix, and could be renamed while written."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _fault_of(file: Path, md5: str | None, check: Check | None) -> str | None:
    """Return what is wrong with a file, or None."""
    if md5 is not None:
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found != md5:
            return f"the MD5 is {found}, and should be {md5}"
    if check is not None:
        try:
            check(file)
        except SourceError as error:
            return str(error)
    return None


def _fill(url: str, part: Path, md5: str | None, check: Check | None) -> None:
    """Bring the part to its end, or raise; a part that turned out wrong is deleted."""
    if md5 is None:
        part.unlink(missing_ok=True)
    leftover = part.exists()
    if leftover and _fault_of(part, md5, check) is None:
        return
    _receive(url, part, resumable=md5 is not None)
    fault = _fault_of(part, md5, check)
    if fault is not None and leftover:
        # what was left may have been the beginning of another file
        part.unlink()
        _receive(url, part, resumable=True)
        fault = _fault_of(part, md5, check)
    if fault is not None:
        part.unlink()
        raise SourceError(f"{url}: {fault}")


def _receive(url: str, part: Path, *, resumable: bool) -> None:
    """Write all that the server sends, going on where a connection broke off.

    Args:
        url: Where to get it.
        part: Where to write it; what is there already is gone on with.
        resumable: Whether to go on even if the server does not vouch, by an ETag, for the file being the same.
    """
    part.touch()
    tag = None
    for _ in range(_ATTEMPTS):
        offset = part.stat().st_size if resumable or tag else 0
        response = _asked(url, offset, tag)
        if response is None:
            part.unlink()
            part.touch()
            continue
        with response:
            if response.length is None and not response.chunked and not resumable:
                raise SourceError(
                    f"{url}: the server does not say how long the file is, so a cut would go unseen"
                )
            if _append(response, part, _start_of(response, offset, url)):
                return
            tag = _strong(response.headers.get("ETag"))
    raise SourceError(f"{url}: the connection broke off {_ATTEMPTS} times; try again later")


def _strong(tag: str | None) -> str | None:
    """Return an ETag that vouches for equal bytes; a weak one only does for equal meaning."""
    return None if tag is None or tag.startswith("W/") else tag


def _asked(url: str, offset: int, tag: str | None) -> HTTPResponse | None:
    """Return the answer from an offset on, or None if the server's file ends before it."""
    headers = {"User-Agent": f"finetuner/{__version__}"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if tag is not None:
            headers["If-Range"] = tag
    try:
        return cast(HTTPResponse, urlopen(Request(url, headers=headers), timeout=_TIMEOUT))
    except HTTPError as error:
        with error:
            if error.code == 416 and offset:
                return None
            raise SourceError(f"{url}: the server answers {error.code} {error.reason}") from error
    except (URLError, HTTPException, OSError) as error:
        raise SourceError(
            f"{url}: the server cannot be reached: {getattr(error, 'reason', error)}"
        ) from error


def _start_of(response: HTTPResponse, offset: int, url: str) -> int:
    """Return the place in the file where the answer begins; 0 from a server that knows no ranges."""
    if response.status != 206:
        return 0
    content_range = response.headers.get("Content-Range", "")
    if not content_range.startswith(f"bytes {offset}-"):
        raise SourceError(f"{url}: asked for bytes from {offset} on, the server sends {content_range!r}")
    return offset


def _append(response: HTTPResponse, part: Path, start: int) -> bool:
    """Write the answer from ``start`` on; return whether it came whole."""
    whole = None if response.length is None else start + response.length
    bar = tqdm(total=whole, initial=start, desc=part.stem, unit="B", unit_scale=True, disable=None)
    with part.open("r+b") as file, bar:
        file.truncate(start)
        file.seek(start)
        while True:
            try:
                chunk = response.read(_CHUNK)
            except (OSError, HTTPException):
                return False
            if not chunk:
                return whole in (None, file.tell())
            file.write(chunk)
            bar.update(len(chunk))
