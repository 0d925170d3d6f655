"""Match Documents made from Fashion-MNIST and Covid QA, as they go over the wire.

    from tests.data_generator import fashion_match_doc_generator as mdg

This is the library's :mod:`finetuner.sources` under the names and with the arguments that callers know. Wrong
arguments raise at the call; documents are made while they are asked for.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import ParamSpec

from docarray import DocList
from tqdm import tqdm

from executors.documents import MatchDocument, to_wire
from finetuner.sources import CovidQaOptions, FashionMnistOptions, covid_qa, fashion_mnist

Arguments = ParamSpec("Arguments")


def fashion_match_doc_generator(
    num_total: int = 60000,
    num_pos: int = 10,
    num_neg: int = 10,
    pos_value: float = 1,
    neg_value: float = -1,
    upsampling: int = 1,
    channels: int = 0,
    channel_axis: int = -1,
    is_testset: bool = False,
    *,
    seed: int = 0,
    folder: Path | None = None,
    download: bool = False,
) -> Iterator[MatchDocument]:
    """Return Fashion-MNIST images with labelled matches, one by one.

    Args:
        num_total: Anchors, at most; they come in the order of the file.
        num_pos: Matches of the same class; they come first.
        num_neg: Matches of other classes.
        pos_value: The label of the former.
        neg_value: The label of the latter.
        upsampling: How often each pixel is repeated, down and across.
        channels: Copies of the grey image on an axis of their own; 0: no such axis.
        channel_axis: Where that axis goes, counting the batch axis: -1 or 3 last, 1 or -3 first.
        is_testset: The test images instead of the training images.
        seed: Decides which images are drawn.
        folder: Where the files are, or are downloaded to; by default the bundled sample, or the cache.
        download: Take the full set, and download it if it is not there.

    Raises:
        OptionError: If an argument is out of range, or asks for more matches than there are.
        SourceError: If the files are missing or damaged, or cannot be downloaded.
    """
    given = {
        "num_total": num_total,
        "num_pos": num_pos,
        "num_neg": num_neg,
        "pos_value": pos_value,
        "neg_value": neg_value,
        "upsampling": upsampling,
        "channels": channels,
        "channel_axis": channel_axis,
        "is_testset": is_testset,
        "seed": seed,
    }
    options = FashionMnistOptions.parse(given, where="fashion_match_doc_generator")
    found = fashion_mnist.download(folder) if download else folder
    return (to_wire(document) for document in fashion_mnist.match_documents(options, folder=found))


def qa_match_doc_generator(
    num_total: int = 481,
    num_neg: int = 5,
    pos_value: float = 1,
    neg_value: float = -1,
    to_ndarray: bool = True,
    max_seq_len: int = 100,
    is_testset: bool | None = False,
    *,
    seed: int = 0,
    folder: Path | None = None,
    download: bool = False,
) -> Iterator[MatchDocument]:
    """Return Covid QA questions with labelled answers, one by one.

    Args:
        num_total: Anchors, at most; they come in the order of the file.
        num_neg: Wrong answers; the row's own always comes, so 0 and 1 are the same.
        pos_value: The label of the answer, which comes first.
        neg_value: The label of wrong answers.
        to_ndarray: Give each text as word ids in ``.blob`` as well.
        max_seq_len: Words in a ``.blob``; the last ones are kept.
        is_testset: The test side instead of the training side; None for both.
        seed: Decides which other answers are drawn.
        folder: Where the file is, or is downloaded to; by default the bundled set, or the cache.
        download: Take the full set, and download it if it is not there.

    Raises:
        OptionError: If an argument is out of range, or asks for more wrong answers than there are.
        SourceError: If the file is missing or damaged, or cannot be downloaded.
    """
    given = {
        "num_total": num_total,
        "num_neg": num_neg,
        "pos_value": pos_value,
        "neg_value": neg_value,
        "to_ndarray": to_ndarray,
        "max_seq_len": max_seq_len,
        "is_testset": is_testset,
        "seed": seed,
    }
    options = CovidQaOptions.parse(given, where="qa_match_doc_generator")
    found = covid_qa.download(folder) if download else folder
    return (to_wire(document) for document in covid_qa.match_documents(options, folder=found))


def fashion_doc_generator(
    *,
    num_total: int = 60000,
    upsampling: int = 1,
    channels: int = 0,
    channel_axis: int = -1,
    is_testset: bool = False,
    folder: Path | None = None,
    download: bool = False,
) -> Iterator[MatchDocument]:
    """Return the anchors of :func:`fashion_match_doc_generator` without matches."""
    return fashion_match_doc_generator(
        num_total,
        num_pos=0,
        num_neg=0,
        upsampling=upsampling,
        channels=channels,
        channel_axis=channel_axis,
        is_testset=is_testset,
        folder=folder,
        download=download,
    )


def qa_data_generator(
    *,
    num_total: int = 481,
    to_ndarray: bool = True,
    max_seq_len: int = 100,
    is_testset: bool | None = False,
    folder: Path | None = None,
    download: bool = False,
) -> Iterator[MatchDocument]:
    """Return the anchors of :func:`qa_match_doc_generator` without matches."""
    given = {
        "num_total": num_total,
        "to_ndarray": to_ndarray,
        "max_seq_len": max_seq_len,
        "is_testset": is_testset,
    }
    options = CovidQaOptions.parse(given, where="qa_data_generator")
    found = covid_qa.download(folder) if download else folder
    return (to_wire(document) for document in covid_qa.documents(options, folder=found))


def _collecting(
    generator: Callable[Arguments, Iterator[MatchDocument]],
) -> Callable[Arguments, DocList[MatchDocument]]:
    @wraps(generator)
    def collect(*args: Arguments.args, **kwargs: Arguments.kwargs) -> DocList[MatchDocument]:
        documents = generator(*args, **kwargs)
        return DocList[MatchDocument](tqdm(documents, desc="match documents", unit="doc", disable=None))

    collect.__doc__ = f"Return what :func:`{generator.__name__}` yields, as one document array."
    return collect


fashion_match_documentarray = _collecting(fashion_match_doc_generator)
qa_match_documentarray = _collecting(qa_match_doc_generator)
