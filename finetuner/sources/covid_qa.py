"""Covid QA as match data: questions, with the right answer, a wrong one, and the answers of other questions.

The rows of the table are parted in two sides, training and test, so that rows that say nearly the same are on one
side: rows are joined where their questions, or their answers, share 80 % of their words, and all that are joined
follow the first of them, which goes to the training side if its row, counted from 0, is odd.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from finetuner.documents import Document, labelled
from finetuner.doors.tables import Row, read_table
from finetuner.errors import OptionError, SourceError
from finetuner.settings import Options
from finetuner.sources.download import download as download_file
from finetuner.sources.folders import cache_folder, source_folder
from finetuner.sources.words import connected, similar_pairs, token_ids, vocabulary_of, words_of

NAME = "covid_qa"
FILE = "dataset.csv"
URL = "https://static.jina.ai/chatbot/dataset.csv"
COLUMNS = ("question", "answer", "wrong_answer")
NEARLY_THE_SAME = 0.8
"""Share of common words (Jaccard) from which on two questions, or two answers, are on the same side."""

Rows = NDArray[np.int64]

logger = logging.getLogger(__name__)


class CovidQaOptions(Options):
    """What the generator of Covid QA can be asked for."""

    num_total: int = Field(
        default=481, ge=0, description="Anchors, at most; they come in the order of the file."
    )
    num_neg: int = Field(
        default=5, ge=0, description="Negatives of each anchor; the row's own wrong answer always comes."
    )
    pos_value: float = Field(default=1.0, allow_inf_nan=False, description="The label of the answer.")
    neg_value: float = Field(default=-1.0, allow_inf_nan=False, description="The label of a wrong answer.")
    to_ndarray: bool = Field(default=True, description="Give the text as word ids in .blob as well.")
    max_seq_len: int = Field(
        default=100, ge=1, le=10000, description="Words in a .blob; the last ones are kept."
    )
    is_testset: bool | None = Field(
        default=False, description="The test side instead of the training side; none: both."
    )
    seed: int = Field(default=0, ge=0, description="Decides which other answers are drawn as negatives.")


def match_documents(options: CovidQaOptions, *, folder: Path | None = None) -> Iterator[Document]:
    """Return questions with labelled answers, one by one.

    The matches are, in this order: the answer; the wrong answer of the row; answers of other rows of the same
    side, up to ``num_neg`` negatives. No two have the same words, and none is the answer of a row that says
    nearly the same. The tags of an anchor are the cells of its row. An id names row and column of a text.

    Args:
        options: What is asked for. ``.text`` is always there; with ``to_ndarray`` also ``.blob``, int64
            (max_seq_len,), with ids of one vocabulary for the whole file: see :mod:`finetuner.sources.words`.
        folder: Where the file is; see :func:`finetuner.sources.folders.source_folder`.

    Raises:
        SourceError: If the file is missing or damaged.
        OptionError: If some anchor has fewer negatives than asked for.
    """
    pairs, side = _asked(options, folder)
    drawable = pairs.drawable(side)
    pairs.check(options, side, drawable)
    return (pairs.match_document(row, drawable, options) for row in side[: options.num_total])


def documents(options: CovidQaOptions, *, folder: Path | None = None) -> Iterator[Document]:
    """Return the anchors of :func:`match_documents` without matches.

    Raises:
        SourceError: If the file is missing or damaged.
    """
    pairs, side = _asked(options, folder)
    return (pairs.anchor(row, options) for row in side[: options.num_total])


def download(folder: Path | None = None, *, url: str = URL) -> Path:
    """Download the full set, 481 rows, unless it is there; return its folder.

    No MD5 is known of it. So what came is read once before it is kept, and a broken download starts anew.

    Args:
        folder: Where it goes; ``~/.cache/finetuner/covid_qa`` by default.
        url: Where it is.

    Raises:
        SourceError: If it cannot be had, or is no such table.
    """
    folder = folder or cache_folder(NAME)
    download_file(url, folder / FILE, check=QuestionsAndAnswers.read)
    return folder


def _asked(options: CovidQaOptions, folder: Path | None) -> tuple["QuestionsAndAnswers", Rows]:
    pairs = QuestionsAndAnswers.read(source_folder(NAME, folder) / FILE)
    side = pairs.side(options.is_testset)
    if options.num_total > len(side):
        logger.warning(
            "%s: num_total is %d, and the side asked for of %s holds %d questions: all of them come",
            *(NAME, options.num_total, pairs.path, len(side)),
        )
    return pairs, side


@dataclass(frozen=True)
class QuestionsAndAnswers:
    """The usable rows of the table, N of them.

    Attributes:
        path: The file.
        cells: The cells of each row.
        numbers: The number of each row in the file, counted from 0, ascending, (N,).
        group: For each row, the first row that says nearly the same, (N,).
        answers: For each row, the first row whose answer has the same words, (N,).
        wrong: For each row, the first row whose answer has the words of this row's wrong answer, or -1, (N,).
        ids: For each text that is an answer, its id.
        vocabulary: Ids of the words of the whole file.
    """

    path: Path
    cells: Sequence[Mapping[str, str]]
    numbers: Rows
    group: Rows
    answers: Rows
    wrong: Rows
    ids: Mapping[str, str]
    vocabulary: Mapping[str, int]

    @classmethod
    def read(cls, path: Path) -> "QuestionsAndAnswers":
        """Read the table; rows that can teach nothing are left out, and reported in one line of the log.

        Raises:
            SourceError: If the file is missing, damaged or without one usable row.
        """
        rows = list(read_table(path, required=COLUMNS))
        numbers = [number for number, row in enumerate(rows) if _is_usable(row)]
        if not numbers:
            raise SourceError(f"{path}: there is no row with a question, an answer and another, wrong answer")
        _report(path, rows, numbers)
        cells = [rows[number].cells for number in numbers]
        questions = [frozenset(words_of(row["question"])) for row in cells]
        answers = [words_of(row["answer"]) for row in cells]
        similar = (
            similar_pairs(texts, NEARLY_THE_SAME) for texts in (questions, list(map(frozenset, answers)))
        )
        first = {words: row for row, words in reversed(list(enumerate(answers)))}
        return cls(
            path=path,
            cells=cells,
            numbers=np.array(numbers, np.int64),
            group=np.array(connected(len(cells), chain(*similar)), np.int64),
            answers=np.array([first[words] for words in answers], np.int64),
            wrong=np.array([first.get(words_of(row["wrong_answer"]), -1) for row in cells], np.int64),
            ids={row["answer"]: f"{NAME}/{numbers[n]}/answer" for n, row in reversed(list(enumerate(cells)))},
            vocabulary=vocabulary_of(row.cells[column] for row in rows for column in COLUMNS),
        )

    def side(self, is_testset: bool | None) -> Rows:
        """Return the rows of the test side, of the training side, or for None all."""
        odd = self.numbers[self.group] % 2 == 1
        return np.flatnonzero(odd != is_testset if is_testset is not None else np.ones_like(odd))

    def drawable(self, side: Rows) -> Rows:
        """Return the rows of a side from which negatives are drawn: equal answers once."""
        return side[np.unique(self.answers[side], return_index=True)[1]]

    def others(self, row: int, drawable: Rows) -> Rows:
        """Return those rows whose answers are wrong for a row, and other than its own wrong answer."""
        unlike: NDArray[np.bool_] = self.group[drawable] != self.group[row]
        unlike &= self.answers[drawable] != self.wrong[row]
        return drawable[unlike]

    def check(self, options: CovidQaOptions, side: Rows, drawable: Rows) -> None:
        """Raise OptionError if some anchor has fewer negatives than asked for."""
        there = min(
            (1 + len(self.others(row, drawable)) for row in side[: options.num_total]),
            default=options.num_neg,
        )
        if options.num_neg > there:
            raise OptionError(
                f"{NAME}: option 'num_neg' is {options.num_neg}, and {self.path} has a question with only {there} "
                f"wrong answers on its side; give at most {there}"
            )

    def anchor(self, row: int, options: CovidQaOptions) -> Document:
        """Return the question of a row, with the cells of the row as tags."""
        document = self._document(
            self.cells[row]["question"], f"{NAME}/{self.numbers[row]}/question", options
        )
        document.tags = dict(self.cells[row])
        return document

    def match_document(self, row: int, drawable: Rows, options: CovidQaOptions) -> Document:
        """Return the question of a row with freshly made matches."""
        random = np.random.default_rng((options.seed, int(self.numbers[row])))
        others = self.others(row, drawable)
        drawn = others[random.choice(len(others), max(options.num_neg - 1, 0), replace=False)]
        texts = [self.cells[row]["answer"], self.cells[row]["wrong_answer"]]
        texts += [self.cells[other]["answer"] for other in drawn]
        labels = [options.pos_value] + [options.neg_value] * (len(texts) - 1)
        unlisted = f"{NAME}/{self.numbers[row]}/wrong_answer"
        matches = [self._document(text, self.ids.get(text, unlisted), options) for text in texts]
        for match, label in zip(matches, labels, strict=True):
            match.tags = labelled({}, label)
        anchor = self.anchor(row, options)
        anchor.matches = matches
        return anchor

    def _document(self, text: str, name: str, options: CovidQaOptions) -> Document:
        blob = token_ids(text, self.vocabulary, options.max_seq_len) if options.to_ndarray else None
        return Document(text=text, blob=blob, id=name)


def _is_usable(row: Row) -> bool:
    question, answer, wrong_answer = (words_of(row.cells[column]) for column in COLUMNS)
    return bool(question and answer and wrong_answer) and answer != wrong_answer


def _report(path: Path, rows: Sequence[Row], numbers: Sequence[int]) -> None:
    left_out = sorted(set(range(len(rows))) - set(numbers))
    if left_out:
        lines = ", ".join(str(rows[number].line) for number in left_out[:5])
        logger.warning(
            "%s: %d rows are left out, since a text is empty or the wrong answer equals the answer (line %s%s)",
            *(path, len(left_out), lines, ", ..." if len(left_out) > 5 else ""),
        )
