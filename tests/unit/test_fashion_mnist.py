"""Fashion-MNIST match Documents: who is whose match, in which shape, and at what cost."""

import hashlib
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from finetuner.documents import Document, label_of
from finetuner.errors import OptionError, SourceError
from finetuner.matches import MatchSet
from finetuner.sources import fashion_mnist
from finetuner.sources.fashion_mnist import FashionMnistOptions, Pictures, match_documents
from finetuner.sources.folders import source_folder
from finetuner.sources.idx import read_idx
from tests.file_server import FileServer


def _documents(folder: Path | None = None, **given: Any) -> list[Document]:
    return list(match_documents(FashionMnistOptions.parse(given, where="test"), folder=folder))


def _idx(array: NDArray[np.uint8]) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def _written(folder: Path, shades: Sequence[int], classes: Sequence[int]) -> Path:
    """Write a training part of one-coloured images; equal shades are equal images."""
    images = np.broadcast_to(np.array(shades, np.uint8)[:, None, None], (len(shades), 28, 28))
    (folder / "train-images-idx3-ubyte").write_bytes(_idx(images))
    (folder / "train-labels-idx1-ubyte").write_bytes(_idx(np.array(classes, np.uint8)))
    return folder


def _md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def _rows(documents: Sequence[Document]) -> list[int]:
    return [int(document.id.rpartition("/")[2]) for document in documents]


def test_an_anchor_never_is_its_own_positive(tmp_path: Path) -> None:
    """In a class of three, with two positives each, the positives are the other two."""
    folder = _written(tmp_path, [1, 2, 3, 4], [5, 5, 5, 6])
    drawn = [set(_rows(anchor.matches)) for anchor in _documents(folder, num_total=3, num_pos=2, num_neg=0)]
    assert drawn == [{1, 2}, {0, 2}, {0, 1}]


def test_an_image_with_the_pixels_of_the_anchor_never_is_its_match(tmp_path: Path) -> None:
    """Copies of an anchor are left out, as positives and, where their class differs, as negatives."""
    folder = _written(tmp_path, [1, 1, 2, 1, 3, 4], [5, 5, 5, 6, 6, 6])
    for anchor in _documents(folder, num_total=6, num_pos=1, num_neg=1):
        assert not any(
            np.array_equal(np.asarray(match.blob), np.asarray(anchor.blob)) for match in anchor.matches
        )


def test_no_two_matches_of_an_anchor_are_equal(tmp_path: Path) -> None:
    """An image that occurs twice is drawn once, even where everything there is is drawn."""
    folder = _written(tmp_path, [1, 2, 3, 3, 7, 8, 8], [5, 5, 5, 5, 6, 6, 6])
    (anchor,) = _documents(folder, num_total=1, num_pos=2, num_neg=2)
    assert sorted(_rows(anchor.matches)) == [1, 2, 4, 5]


def test_positives_share_the_class_and_come_first() -> None:
    """Labels follow the classes, and are the values asked for."""
    for anchor in _documents(num_total=50, num_pos=3, num_neg=4, pos_value=5, neg_value=0.5):
        same = [match.tags["class"] == anchor.tags["class"] for match in anchor.matches]
        assert same == [True] * 3 + [False] * 4
        assert [label_of(match) for match in anchor.matches] == [5] * 3 + [0.5] * 4


def test_documents_already_yielded_never_change(tmp_path: Path) -> None:
    """An image that is a positive here and a negative there keeps both labels, in documents of their own."""
    folder = _written(tmp_path, [1, 2, 3, 4], [5, 5, 6, 6])
    seen = []
    for anchor in match_documents(FashionMnistOptions(num_pos=1, num_neg=2), folder=folder):
        seen.append((anchor, repr(anchor.tags), [repr(match.tags) for match in anchor.matches]))
    for anchor, tags, of_matches in seen:
        assert repr(anchor.tags) == tags
        assert [repr(match.tags) for match in anchor.matches] == of_matches
    every = [document for anchor, *_ in seen for document in (anchor, *anchor.matches)]
    assert len({id(document.tags) for document in every}) == len(every)


def test_a_change_to_a_yielded_document_stays_there(tmp_path: Path) -> None:
    """Whoever writes into a blob does not write into the source."""
    folder = _written(tmp_path, [100, 100], [5, 6])
    documents = match_documents(FashionMnistOptions(num_pos=0, num_neg=0), folder=folder)
    blob = next(documents).blob
    assert blob is not None
    blob[:] = 0
    second = next(documents).blob
    assert second is not None
    assert second.min() == np.float32(100 / 255)


def test_anchors_come_in_the_order_of_the_file_as_they_are_there() -> None:
    """Blob, class and id of an anchor are those of its row."""
    folder = source_folder("fashion_mnist")
    images = read_idx(folder / "t10k-images-idx3-ubyte.gz", dimensions=3)
    classes = read_idx(folder / "t10k-labels-idx1-ubyte.gz", dimensions=1)
    for row, anchor in enumerate(_documents(num_total=30, num_pos=1, num_neg=1, is_testset=True)):
        assert anchor.blob is not None
        assert anchor.blob.dtype == np.float32
        np.testing.assert_array_equal(anchor.blob, (images[row] / 255).astype(np.float32))
        assert anchor.tags == {"class": classes[row]}
        assert anchor.id == f"fashion_mnist/test/{row}"


def test_a_match_is_the_image_that_its_id_names() -> None:
    """A match has the id, the pixels and the class that the image has as an anchor."""
    anchors = {anchor.id: anchor for anchor in _documents(num_pos=0, num_neg=0)}
    for anchor in _documents(num_total=20):
        for match in anchor.matches:
            np.testing.assert_array_equal(match.blob, anchors[match.id].blob)
            assert match.tags["class"] == anchors[match.id].tags["class"]


@pytest.mark.parametrize(
    ("upsampling", "channels", "channel_axis"),
    [
        *((2, 3, axis) for axis in (-3, -2, -1, 1, 2, 3)),
        *((times, channels, axis) for times, axis in ((1, -1), (4, 1)) for channels in (0, 1)),
    ],
)
def test_shapes(upsampling: int, channels: int, channel_axis: int) -> None:
    """The axis of the channels counts the batch axis; without channels there is none, whatever is said of it."""
    side = 28 * upsampling
    shape = [side, side]
    if channels:
        shape.insert({-1: 2, 3: 2, 1: 0, -3: 0, 2: 1, -2: 1}[channel_axis], channels)
    given: dict[str, Any] = {"upsampling": upsampling, "channels": channels, "channel_axis": channel_axis}
    (anchor,) = _documents(num_total=1, num_pos=1, num_neg=1, **given)
    assert [document.blob.shape for document in (anchor, *anchor.matches) if document.blob is not None] == [
        tuple(shape)
    ] * 3


def test_upsampling_repeats_pixels_and_channels_repeat_the_image() -> None:
    """Every channel is the grey image, every pixel of it a square."""
    (grey,) = _documents(num_total=1, num_pos=0, num_neg=0)
    (colour,) = _documents(num_total=1, num_pos=0, num_neg=0, upsampling=3, channels=2, channel_axis=1)
    assert grey.blob is not None
    np.testing.assert_array_equal(colour.blob, [np.kron(grey.blob, np.ones((3, 3)))] * 2)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("channel_axis", 0),
        ("channel_axis", 4),
        ("channel_axis", -4),
        ("channel_axis", 1.5),
        ("upsampling", 0),
        ("channels", -1),
        ("num_pos", -1),
        ("num_neg", "many"),
        ("pos_value", float("nan")),
        ("seed", -1),
    ],
)
def test_option_out_of_range_is_refused(option: str, value: Any) -> None:
    """The error names the option and what was given."""
    with pytest.raises(OptionError, match=f"test: option '{option}' is {value!r}"):
        _documents(**{option: value})


@pytest.mark.parametrize(("option", "there"), [("num_pos", 1), ("num_neg", 2)])
def test_more_matches_than_there_are_is_an_option_error(tmp_path: Path, option: str, there: int) -> None:
    """The error comes at the call, says how many there are, and exactly so many are possible."""
    folder = _written(tmp_path, [1, 2, 3, 4, 5], [5, 5, 6, 6, 6])
    options: dict[str, Any] = {"num_pos": 0, "num_neg": 0, option: there + 1}
    with pytest.raises(OptionError, match=rf"'{option}' is {there + 1}, .*; give at most {there}"):
        match_documents(FashionMnistOptions(**options), folder=folder)
    assert len(_documents(folder, **{**options, option: there})[0].matches) == there


def test_all_there_is_comes_with_one_line_that_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """Asking for 60,000 anchors of a sample of 2,000 yields 2,000, and is told once."""
    assert len(_documents(num_pos=0, num_neg=0)) == 2000
    (record,) = caplog.records
    assert "num_total is 60000" in record.getMessage()
    assert "holds 2000 images" in record.getMessage()


def test_nothing_is_said_where_there_is_enough(caplog: pytest.LogCaptureFixture) -> None:
    """A request that is met leaves no line in the log."""
    assert len(_documents(num_total=1000, num_pos=0, num_neg=0, is_testset=True)) == 1000
    assert caplog.records == []


def test_same_seed_same_documents() -> None:
    """Ids, labels and pixels repeat with the seed, and the draw differs with another."""
    one, again, other = (_documents(num_total=5, seed=seed) for seed in (1, 1, 2))
    for anchor, same in zip(one, again, strict=True):
        assert [(match.id, match.tags) for match in anchor.matches] == [
            (match.id, match.tags) for match in same.matches
        ]
    assert all(set(_rows(a.matches)) != set(_rows(b.matches)) for a, b in zip(one, other, strict=True))


def test_what_is_drawn_does_not_depend_on_how_many_are_asked_for() -> None:
    """The first anchors have the same matches, whether few or many follow."""
    few, many = (_documents(num_total=total) for total in (3, 30))
    assert [_rows(anchor.matches) for anchor in few] == [_rows(anchor.matches) for anchor in many[:3]]


def test_anchors_of_a_class_draw_different_matches() -> None:
    """The seed does not give all anchors the same draw."""
    anchors = _documents(num_total=100)
    assert len({tuple(_rows(anchor.matches)) for anchor in anchors}) == 100


def test_memory_does_not_grow_with_the_number_of_anchors() -> None:
    """With 100 MB of documents to come, a consumer that keeps none needs a few: images stay bytes until asked for."""
    documents = match_documents(FashionMnistOptions(upsampling=4, num_pos=5, num_neg=4))
    tracemalloc.start()
    try:
        for _, _document in zip(range(200), documents, strict=False):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


def test_two_thousand_anchors_with_twenty_matches_take_less_than_a_second() -> None:
    """Making documents is no bottleneck of what trains on them."""
    start = time.perf_counter()
    counts = [len(anchor.matches) for anchor in match_documents(FashionMnistOptions(num_total=2000))]
    assert counts == [20] * 2000
    assert time.perf_counter() - start < 1


def test_match_set_has_nothing_to_settle() -> None:
    """Read as match data, no anchor meets itself, nothing is said twice and nothing contradicts."""
    findings = MatchSet.from_documents(match_documents(FashionMnistOptions(num_total=300))).findings
    assert (findings.self_matches, findings.repeated, findings.contradicted, findings.unjudged) == (
        0,
        0,
        0,
        0,
    )


def test_images_and_labels_must_belong_together(tmp_path: Path) -> None:
    """An image without a label, a label without a class and images of another size are refused."""
    folder = _written(tmp_path, [1, 2, 3], [1, 2])
    with pytest.raises(SourceError, match="with 2 labels up to 2"):
        _documents(folder)
    _written(tmp_path, [1, 2], [1, 10])
    with pytest.raises(SourceError, match="labels up to 10"):
        _documents(folder)
    (folder / "train-images-idx3-ubyte").write_bytes(_idx(np.zeros((2, 27, 28), np.uint8)))
    with pytest.raises(SourceError, match=r"\(2, 27, 28\)"):
        _documents(folder)


def test_damaged_file_is_a_source_error_at_the_call(tmp_path: Path) -> None:
    """A file that was cut short is not read as a shorter one."""
    _written(tmp_path, [1, 2], [1, 2])
    images = tmp_path / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(SourceError, match="train-images-idx3-ubyte"):
        match_documents(FashionMnistOptions(), folder=tmp_path)


def test_missing_folder_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the data sets are not, the error names the folder and the variable."""
    monkeypatch.setenv("FINETUNER_DATASETS", str(tmp_path / "nowhere"))
    with pytest.raises(
        SourceError, match=r"nowhere/fashion_mnist: there is no such folder, .* FINETUNER_DATASETS"
    ):
        _documents()


def test_environment_names_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FINETUNER_DATASETS replaces the bundled sample, with a folder for each data set."""
    (tmp_path / "fashion_mnist").mkdir()
    _written(tmp_path / "fashion_mnist", [7], [3])
    monkeypatch.setenv("FINETUNER_DATASETS", str(tmp_path))
    assert [anchor.tags for anchor in _documents(num_pos=0, num_neg=0)] == [{"class": 3}]


def test_bundled_images_are_all_different() -> None:
    """In the bundled sample every image can be drawn."""
    pictures = Pictures.read(source_folder("fashion_mnist"), is_testset=False)
    assert sum(map(len, pictures.of_class)) == 2000


def test_download_takes_the_four_files_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files with the right MD5 are kept, and the same reader reads them."""
    bundled = source_folder("fashion_mnist")
    files = {f"/{name}": (bundled / name).read_bytes() for name in fashion_mnist.MD5}
    with FileServer(files).running() as server:
        with pytest.raises(SourceError, match="the MD5 is"):
            fashion_mnist.download(tmp_path, url=server.url)
        for path, content in files.items():
            monkeypatch.setitem(fashion_mnist.MD5, path[1:], _md5(content))
        fashion_mnist.download(tmp_path, url=server.url)
        fashion_mnist.download(tmp_path, url=server.url)
    assert len(server.asked) == 1 + 4
    assert len(_documents(tmp_path, num_total=2)) == 2


def test_download_goes_to_the_cache_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder the files lie under the user's home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(fashion_mnist, "MD5", {"a": _md5(b"a")})
    with FileServer({"/a": b"a"}).running() as server:
        folder = fashion_mnist.download(url=server.url)
    assert folder == tmp_path / ".cache" / "finetuner" / "fashion_mnist"
    assert (folder / "a").read_bytes() == b"a"
