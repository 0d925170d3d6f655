"""Downloads: resumed, restarted, checked, and never half there."""

import fcntl
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from finetuner.errors import SourceError
from finetuner.sources.download import download
from tests.file_server import FileServer

CONTENT = bytes(range(256)) * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()


def test_file_comes_whole_and_nothing_is_left_aside(tmp_path: Path) -> None:
    """The file has its name and its bytes, in a folder that was made for it."""
    with FileServer({"/a": CONTENT}).running() as server:
        target = download(f"{server.url}/a", tmp_path / "new" / "a", md5=MD5)
    assert target.read_bytes() == CONTENT
    assert [target] == list(target.parent.iterdir())


def test_broken_connection_is_gone_on_with(tmp_path: Path) -> None:
    """After a break only the rest is asked for, and the whole is right."""
    with FileServer({"/a": CONTENT}, break_after=[100_000, 50_000]).running() as server:
        target = download(f"{server.url}/a", tmp_path / "a", md5=MD5)
    assert server.asked == ["", "bytes=100000-", "bytes=150000-"]
    assert target.read_bytes() == CONTENT


def test_server_without_ranges_is_asked_anew(tmp_path: Path) -> None:
    """An answer that begins at the beginning replaces what was there, it is not appended."""
    with FileServer({"/a": CONTENT}, break_after=[100_000], ranges=False).running() as server:
        target = download(f"{server.url}/a", tmp_path / "a", md5=MD5)
    assert server.asked == ["", "bytes=100000-"]
    assert target.read_bytes() == CONTENT


def test_answer_from_the_beginning_replaces_all_that_was_there(tmp_path: Path) -> None:
    """Nothing of a longer part is left behind a shorter answer."""
    (tmp_path / "a.part").write_bytes(b"x" * (len(CONTENT) + 7))
    with FileServer({"/a": CONTENT}, ranges=False).running() as server:
        target = download(f"{server.url}/a", tmp_path / "a", md5=MD5)
    assert len(server.asked) == 1
    assert target.read_bytes() == CONTENT


def test_later_call_goes_on_where_an_earlier_one_gave_up(tmp_path: Path) -> None:
    """After five breaks the call fails without the file; the next one asks for the rest only."""
    with FileServer({"/a": CONTENT}, break_after=[10] * 5).running() as server:
        with pytest.raises(SourceError, match="broke off 5 times"):
            download(f"{server.url}/a", tmp_path / "a", md5=MD5)
        assert not (tmp_path / "a").exists()
        target = download(f"{server.url}/a", tmp_path / "a", md5=MD5)
    assert server.asked[-1] == "bytes=50-"
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [1000, len(CONTENT), len(CONTENT) + 7], ids=["half", "as-long", "longer"])
def test_part_of_another_file_is_thrown_away(tmp_path: Path, size: int) -> None:
    """What an unfinished part holds is never trusted: if the whole is wrong, it is taken from the beginning."""
    (tmp_path / "a.part").write_bytes(b"x" * size)
    with FileServer({"/a": CONTENT}).running() as server:
        target = download(f"{server.url}/a", tmp_path / "a", md5=MD5)
    assert target.read_bytes() == CONTENT


def test_part_that_is_complete_is_only_renamed(tmp_path: Path) -> None:
    """A process that ended between the last byte and the renaming costs no second download."""
    (tmp_path / "a.part").write_bytes(CONTENT)
    with FileServer({"/a": CONTENT}).running() as server:
        target = download(f"{server.url}/a", tmp_path / "a", md5=MD5)
    assert server.asked == []
    assert target.read_bytes() == CONTENT


def test_wrong_md5_leaves_nothing_behind(tmp_path: Path) -> None:
    """A whole file that is not the right one is refused, with both MD5s and what to do."""
    with FileServer({"/a": b"another file"}).running() as server, pytest.raises(SourceError) as raised:
        download(f"{server.url}/a", tmp_path / "a", md5=MD5)
    assert list(tmp_path.iterdir()) == []
    assert f"should be {MD5}; go on with the bundled sample" in str(raised.value)


def test_right_file_is_not_downloaded_again(tmp_path: Path) -> None:
    """A file whose MD5 is right is reused without a request."""
    (tmp_path / "a").write_bytes(CONTENT)
    with FileServer({"/a": CONTENT}).running() as server:
        download(f"{server.url}/a", tmp_path / "a", md5=MD5)
    assert server.asked == []


def test_half_a_file_under_the_name_of_the_whole_is_replaced(tmp_path: Path) -> None:
    """That a file exists does not make it right: its MD5 does."""
    (tmp_path / "a").write_bytes(CONTENT[:1000])
    with FileServer({"/a": CONTENT}).running() as server:
        target = download(f"{server.url}/a", tmp_path / "a", md5=MD5)
    assert target.read_bytes() == CONTENT


def test_existing_file_survives_a_download_that_fails(tmp_path: Path) -> None:
    """A file is replaced by a right one or not at all."""
    (tmp_path / "a").write_bytes(b"mine")
    with FileServer({}).running() as server, pytest.raises(SourceError, match="answers 404"):
        download(f"{server.url}/a", tmp_path / "a", md5=MD5)
    assert (tmp_path / "a").read_bytes() == b"mine"


def test_without_md5_an_old_part_is_not_gone_on_with(tmp_path: Path) -> None:
    """Nothing could tell whether the old beginning fits the new end."""
    (tmp_path / "a.part").write_bytes(b"x" * 1000)
    with FileServer({"/a": CONTENT}).running() as server:
        target = download(f"{server.url}/a", tmp_path / "a")
    assert server.asked == [""]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("etag", "second"),
    [("", ""), ('W/"1"', ""), ('"1"', "bytes=1000-")],
    ids=["no-etag", "weak-etag", "strong-etag"],
)
def test_without_md5_only_a_strong_etag_allows_to_go_on(tmp_path: Path, etag: str, second: str) -> None:
    """The server must vouch for the file being the same, else it is taken from the beginning."""
    with FileServer({"/a": CONTENT}, break_after=[1000], etag=etag).running() as server:
        target = download(f"{server.url}/a", tmp_path / "a")
    assert ["", second] == server.asked
    assert target.read_bytes() == CONTENT


def test_without_md5_and_length_a_file_is_refused(tmp_path: Path) -> None:
    """Where nothing could tell a cut file from a whole one, none is taken."""
    with FileServer({"/a": CONTENT}, says_length=False).running() as server:
        with pytest.raises(SourceError, match="does not say how long the file is"):
            download(f"{server.url}/a", tmp_path / "a")
        assert download(f"{server.url}/a", tmp_path / "b", md5=MD5).read_bytes() == CONTENT


def test_check_decides_over_new_and_existing_files(tmp_path: Path) -> None:
    """A file that the check refuses is neither kept nor reused."""

    def no_html(file: Path) -> None:
        if file.read_bytes().startswith(b"<html>"):
            raise SourceError(f"{file}: this is a web page")

    (tmp_path / "a").write_bytes(b"<html>log in</html>")
    with FileServer({"/a": b"<html>gone</html>"}).running() as server:
        with pytest.raises(SourceError, match="this is a web page"):
            download(f"{server.url}/a", tmp_path / "a", check=no_html)
        server.files["/a"] = CONTENT
        assert download(f"{server.url}/a", tmp_path / "a", check=no_html).read_bytes() == CONTENT


def test_folder_is_held_until_the_file_has_its_name(tmp_path: Path) -> None:
    """No other process writes the same part, or finds it half there."""
    held = []

    def try_to_hold(file: Path) -> None:
        handle = os.open(file.parent, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)
        held.append(file.name)

    with FileServer({"/a": CONTENT}).running() as server:
        download(f"{server.url}/a", tmp_path / "a", check=try_to_hold)
    assert held == ["a.part"]


def test_two_at_once_download_once(tmp_path: Path) -> None:
    """The second waits for the first, and finds the file."""
    with FileServer({"/a": CONTENT}).running() as server, ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(download, f"{server.url}/a", tmp_path / "a", md5=MD5) for _ in range(2)]
        assert [job.result().read_bytes() for job in jobs] == [CONTENT, CONTENT]
    assert server.asked == [""]


def test_server_that_is_not_there_is_a_source_error(tmp_path: Path) -> None:
    """A refused connection says which server, and what to do instead."""
    with FileServer({}).running() as server:
        pass
    with pytest.raises(SourceError, match=r"cannot be reached: .*; go on with the bundled sample"):
        download(f"{server.url}/a", tmp_path / "a", md5=MD5)


def test_only_http_is_downloaded(tmp_path: Path) -> None:
    """A file of this machine is not copied by way of a URL."""
    with pytest.raises(SourceError, match="only http:// and https://"):
        download((tmp_path / "secret").as_uri(), tmp_path / "a")


def test_folder_that_cannot_be_made_is_a_source_error(tmp_path: Path) -> None:
    """A target below a plain file is refused before anything is asked for."""
    (tmp_path / "plain").touch()
    with pytest.raises(SourceError, match="cannot be written"):
        download("http://127.0.0.1:9/a", tmp_path / "plain" / "a")
