"""Lint: what is odd about match data, in one pass over packs."""

import json
import random
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuner.contents import content_hash
from finetuner.documents import Array, Document, labelled
from finetuner.errors import ContentError, OptionError
from finetuner.lint import Finding, LintReport, lint
from finetuner.lint.columns import Names, Numbered
from finetuner.lint.near import Signatures, near, signatures
from finetuner.packing import packed
from finetuner.packs import Pack
from finetuner.splits import SIDES, Side, sides

Judged = Mapping[str, float | None]
SAFE = {"q1": {"good": 1.0, "bad": -1.0}, "q2": {"fine": 2.0, "poor": -0.5}}


def match(content: str | Array, label: float | None, *, name: str | None = None) -> Document:
    """Return a match; by default its text is its id."""
    tags = {} if label is None else labelled({}, label)
    if isinstance(content, str):
        return Document(id=name or content, text=content, tags=tags)
    return Document(id=str(name), blob=content, tags=tags)


def anchor(text: str, judged: Judged, *, name: str | None = None) -> Document:
    """Return an anchor from {text of a match: label, or None for unjudged}; texts are ids."""
    return Document(id=name or text, text=text, matches=[match(one, label) for one, label in judged.items()])


def report(*documents: Document, validation: float = 0, holdout: float = 0) -> LintReport:
    """Return the report about documents; by default nothing is held out."""
    return lint(packed(documents), validation=validation, holdout=holdout)


def found(name: str, told: LintReport) -> Finding | None:
    """Return one finding, None if it is not in the report."""
    return next((one for one in told.findings if one.name == name), None)


def brief(name: str, told: LintReport) -> tuple[int, list[dict[str, str]]]:
    """Return the count and the examples of a finding, (0, []) if it is not in the report."""
    one = found(name, told)
    return (0, []) if one is None else (one.count, [dict(example) for example in one.examples])


def safe() -> list[Document]:
    """Return anchors about which nothing is to be said."""
    return [anchor(text, judged) for text, judged in SAFE.items()]


def side_of(text: str) -> Side:
    """Return the side on which an anchor with this text is, with validation and holdout of 0.3 each."""
    digest = np.frombuffer(content_hash(text), np.uint8)[None]
    return SIDES[sides(digest, validation=0.3, holdout=0.3, seed=0)[0]]


def on_side(side: Side) -> Iterator[str]:
    """Return texts whose anchors are on a side."""
    return (text for number in count() if side_of(text := f"question {number}") == side)


def test_nothing_is_found_in_good_match_data() -> None:
    """Anchors with positives and negatives of their own are no finding of any sort."""
    assert report(*safe()).findings == ()


def test_what_there_is_is_counted() -> None:
    """Ids, contents, anchors, labels by sign and value, and how matches are spread over anchors."""
    counts = report(
        anchor("a", {"b": 1, "c": -1, "d": None, "e": 0}),
        anchor("f", {"b": 1}),
        Document(id="g", text="a", matches=[match("c", -2.5), match("b", 1)]),
    ).counts
    assert (counts.documents, counts.contents, counts.anchors) == (7, 6, 3)
    assert (counts.matches, counts.judgements, counts.unjudged) == (7, 6, 1)
    assert (counts.positive, counts.negative, counts.zero) == (3, 2, 1)
    assert list(counts.labels.items()) == [("1", 3), ("-2.5", 1), ("-1", 1), ("0", 1)]
    assert counts.distinct_labels == 4
    assert counts.matches_per_anchor == {"min": 1, "median": 2, "max": 4}
    assert counts.both_signs == pytest.approx(2 / 3)


def test_an_empty_stream_is_counted() -> None:
    """Without a single pack everything is 0, and there is nothing to learn."""
    told = lint([])
    assert (told.counts.documents, told.counts.matches_per_anchor, told.counts.both_signs) == (0, {}, 0)
    assert [one.name for one in told.findings] == ["nothing_to_learn"]


def test_the_most_frequent_label_values_are_told() -> None:
    """Of more than 20 values those that come most often, whatever their order."""
    judged = {f"m{number}": float(number) for number in range(1, 31)}
    counts = report(anchor("q", judged), anchor("r", {"x": 30, "y": 29})).counts
    assert list(counts.labels.items())[:3] == [("29", 2), ("30", 2), ("1", 1)]
    assert (len(counts.labels), counts.distinct_labels) == (20, 30)


def test_zero_has_no_sign() -> None:
    """A label of -0.0 is one of 0, and what is no whole number is written as it is."""
    assert report(anchor("q", {"x": -0.0, "y": 0.1})).counts.labels == {"0": 1, "0.1": 1}


def test_scores_are_not_listed() -> None:
    """More than 1,000 different labels are scores: they are not kept one by one."""
    scores = np.random.default_rng(0).random(1001)
    told = report(anchor("q", {f"m{number}": float(score) for number, score in enumerate(scores)}))
    assert (told.counts.labels, told.counts.distinct_labels, told.counts.positive) == ({}, None, 1001)
    assert "more than 1,000 different values" in told.as_table()


def test_an_anchor_without_a_match() -> None:
    """It is named, and one with a match is not."""
    assert brief("anchors_without_match", report(*safe(), anchor("lost", {}))) == (1, [{"anchor": "lost"}])


@pytest.mark.parametrize(
    ("judged", "name"),
    [
        ({"x": None, "y": 0}, "anchors_without_judgement"),
        ({"lone": 1, "x": None}, "anchors_without_judgement"),
        ({"x": -1, "y": 0, "lone": 1}, "anchors_without_positive"),
        ({"x": 1, "y": None, "lone": -1}, "anchors_without_negative"),
    ],
)
def test_an_anchor_of_one_sort_of_judgement(judged: Judged, name: str) -> None:
    """It is in one of the findings about anchors only, and what it says about itself counts for nothing."""
    told = report(*safe(), anchor("lone", judged))
    assert brief(name, told) == (1, [{"anchor": "lone"}])
    assert [one.name for one in told.findings if one.name.startswith("anchors_")] == [name]


def test_an_anchor_may_come_in_several_packs() -> None:
    """Its judgements are joined before anything is said about what it lacks."""
    documents = [anchor("q", {"x": 1}), *safe(), anchor("q", {"y": -1})]
    told = lint(packed(documents, anchors=1, standalone=True), validation=0, holdout=0)
    assert (told.findings, told.counts.anchors) == ((), 3)


def test_data_without_a_positive_cannot_be_learnt_from() -> None:
    """It is an error, told once with the number of anchors, and one positive takes it away."""
    anchors = [anchor("a", {"b": -1}), anchor("c", {"c": 1, "d": None})]
    assert brief("nothing_to_learn", report(*anchors)) == (2, [])
    assert report(*anchors).findings[0].severity == "error"
    assert found("nothing_to_learn", report(*anchors, anchor("e", {"f": 1}))) is None


def test_a_match_that_is_its_anchor() -> None:
    """By its id or by its content, judged or not; the content of another anchor is no such match."""
    told = report(
        anchor("a", {"a": 1, "b": 1, "c": -1}),
        Document(id="d", text="e", matches=[match("e", None, name="f"), match("a", 1), match("b", -1)]),
    )
    assert brief("self_matches", told) == (2, [{"anchor": "a", "match": "a"}, {"anchor": "d", "match": "f"}])
    assert found("self_matches", report(*safe())) is None


def test_documents_of_one_content() -> None:
    """Each id beyond the first of a content counts; as anchors they are told once more."""
    told = report(
        anchor("a", {"b": 1, "c": -1}),
        anchor("a", {"b": 1, "c": -1}, name="a2"),
        Document(
            id="d", text="d", matches=[match("b", 1, name="b2"), match("b", 1, name="b3"), match("c", -1)]
        ),
    )
    same = [("a2", "a"), ("b2", "b"), ("b3", "b")]
    assert brief("duplicate_contents", told) == (3, [{"document": x, "same as": y} for x, y in same])
    assert brief("anchors_of_equal_content", told) == (1, [{"anchor": "a2", "same as": "a"}])
    assert found("duplicate_contents", report(*safe())) is None
    assert found("anchors_of_equal_content", report(*safe())) is None


def test_contents_that_nobody_judged() -> None:
    """Neither anchor nor labelled match, under any of its ids; a label of 0 is a label."""
    told = report(
        *safe(),
        anchor("q3", {"idle": None, "zero": 0, "q1": None, "good": 1, "bad": -1}),
        Document(
            id="q5", text="q5", matches=[match("idle", None, name="i2"), match("fine", 1), match("bad", -1)]
        ),
        Document(
            id="q4", text="q4", matches=[match("good", None, name="g2"), match("fine", 1), match("bad", -1)]
        ),
    )
    assert brief("unjudged_contents", told) == (1, [{"document": "idle"}])


def corpus(*texts: str) -> Pack:
    """Return a pack of contents alone."""
    none = np.empty(0, np.int64)
    return Pack(0, texts, texts, None, none, np.zeros(1, np.int64), none, np.empty(0))


def test_a_corpus_and_judgements_by_id() -> None:
    """Contents that came before are known by id; ids that never bring a content are told."""
    judged = Pack(
        0,
        ["q1", "good", "q"],
        None,
        None,
        np.array([0, 2]),
        np.array([0, 1, 2]),
        np.array([1, 2]),
        np.ones(2),
    )
    told = lint([corpus("q1", "good", "idle"), judged], validation=0, holdout=0)
    assert (told.counts.documents, told.counts.contents) == (4, 3)
    assert brief("documents_without_content", told) == (1, [{"document": "q"}])
    assert brief("self_matches", told) == (1, [{"anchor": "q", "match": "q"}])
    assert brief("unjudged_contents", told) == (1, [{"document": "idle"}])
    alone = lint([judged], validation=0, holdout=0)
    assert (alone.counts.contents, brief("self_matches", alone)[0]) == (0, 1)


def test_an_id_with_two_contents() -> None:
    """It is an error with that id; the same content again is none."""
    one = packed([anchor("q", {"x": 1, "y": -1})])
    same = packed([Document(id="r", text="r", matches=[match("x", 1), match("y", -1)])])
    other = packed([Document(id="s", text="s", matches=[match("X2", 1, name="x"), match("y", -1)])])
    told = lint([*one, *same, *other], validation=0, holdout=0)
    assert brief("ids_with_two_contents", told) == (1, [{"document": "x"}])
    assert told.findings[0].severity == "error"


@pytest.mark.parametrize(
    ("judged", "counted"),
    [({"x": 1, "y": 0, "z": 0}, 2), ({"x": 0}, 1), ({"x": 1, "y": 0, "z": -1}, 0), ({"x": 1, "y": None}, 0)],
)
def test_labels_that_look_like_zero_and_one(judged: Judged, counted: int) -> None:
    """Zeros are told of only where nothing is below 0, and the options that say what they mean are named."""
    told = report(anchor("q", judged))
    assert brief("labels_of_zero", told)[0] == counted
    assert ("negative_label=0" in told.as_table()) == bool(counted)


def test_contradictions_are_the_stores() -> None:
    """What sources disagree about is shown as the store told it, with five examples; none are no finding."""
    pairs: list[dict[str, object]] = [{"anchor": "q1", "match": f"m{number}"} for number in range(9)]
    told = lint(packed(safe()), validation=0, holdout=0, contradictions=(12, pairs))
    assert brief("contradictions", told) == (12, pairs[:5])
    assert lint(packed(safe()), validation=0, holdout=0, contradictions=(0, [])).findings == ()


IMAGE = np.random.default_rng(0).random((28, 28)).astype(np.float32)
LARGE = np.kron(IMAGE, np.ones((9, 9), np.float32))
NOISE = np.random.default_rng(1).standard_normal(LARGE.shape).astype(np.float32) * IMAGE.std()
TOKENS = np.array([0, 0, 5, 0, 7, 3])


@pytest.mark.parametrize(
    ("one", "other", "is_near"),
    [
        ("Where is it?", "where is it", True),
        ("find  the\tSTRASSE \uff12!", "find the straße 2", True),
        ("e-mail", "e mail", True),
        ("?!", "!?", False),
        ("1.5", "15", False),
        ("where is it", "where it is", False),
        (IMAGE, 0.5 * IMAGE + 0.1, True),
        (IMAGE, IMAGE + np.float32(1e-3) * IMAGE[::-1], True),
        (IMAGE, IMAGE[::-1], False),
        (LARGE, 0.9 * LARGE + 0.5, True),
        (LARGE, LARGE + 0.08 * NOISE, True),
        (LARGE, LARGE[::-1], False),
        (np.ones(20, np.float32), np.full(20, 0.1, np.float32), True),
        (np.ones(2, np.float32), np.full(2, 3, np.float32), False),
        (TOKENS, np.array([5, 0, 7, 3, 0, 0]), True),
        (TOKENS, np.array([0, 0, 5, 7, 3, 0]), False),
        (np.zeros(6, np.int64), TOKENS, False),
    ],
)
def test_what_is_nearly_the_same(one: str | Array, other: str | Array, is_near: bool) -> None:
    """As positive and negative of one anchor, and as two anchors, both of which count."""
    both = [match(content, label, name=name) for content, label, name in ((one, 1, "a"), (other, -1, "b"))]
    filler = "filler" if isinstance(one, str) else np.arange(one.size).reshape(one.shape).astype(one.dtype)
    asking = [replace(content, id=f"q{number}", tags={}) for number, content in enumerate(both)]
    judging = replace(match(filler, None, name="q"), matches=both)
    told = report(judging, *asking)
    pair = {"anchor": "q", "positive": "a", "negative": "b"}
    assert brief("judged_both_ways", told) == ((1, [pair]) if is_near else (0, []))
    pairs = [{"anchor": "q0", "nearly": "q1"}, {"anchor": "q1", "nearly": "q0"}]
    assert brief("near_duplicate_anchors", told) == ((2, pairs) if is_near else (0, []))


def test_equal_contents_are_near_as_matches_and_not_as_anchors() -> None:
    """Two ids of one content with two labels are a finding; two anchors of one content are told as equal."""
    twice = [match("x", 1, name="a"), match("x", -1, name="b")]
    told = report(Document(id="q", text="q", matches=twice), Document(id="r", text="q", matches=twice))
    assert brief("judged_both_ways", told)[0] == 2
    assert brief("near_duplicate_anchors", told) == (0, [])
    assert brief("anchors_of_equal_content", told)[0] == 1


def test_near_duplicates_of_two_anchors_do_not_contradict() -> None:
    """What is a positive of one anchor may be a negative of another; so may two positives be nearly the same."""
    told = report(anchor("q", {"x": 1, "X": 1, "y": -1}), anchor("r", {"x!": -1, "y": 1}))
    assert found("judged_both_ways", told) is None


def test_an_anchor_is_not_compared_with_its_matches() -> None:
    """A positive that is the anchor itself is dropped, so a negative near it contradicts nothing."""
    assert found("judged_both_ways", report(anchor("q", {"q": 1, "Q": -1, "x": 1}))) is None


def test_each_positive_counts_once_however_many_negatives_are_near() -> None:
    """Three positives and two negatives that are one text but for case are three."""
    told = report(anchor("q", {"x": 1, "X": 1, "x!": 1, "x.": -1, "X.": -1}))
    assert brief("judged_both_ways", told)[0] == 3


def test_held_out_contents_as_matches_of_training_anchors() -> None:
    """They count where a training anchor judges them; not where nobody does, or a held-out anchor does."""
    training, validation, holdout = (on_side(side) for side in SIDES)
    teaching, idle, asked = next(training), next(training), next(validation)
    seen, unseen, judging = next(holdout), next(holdout), next(holdout)
    told = report(
        anchor(teaching, {asked: -1, seen: 1, unseen: None, "x": 1}),
        anchor(idle, {"y": 1, "x": -1}),
        anchor(judging, {unseen: 1, teaching: -1}),
        *(anchor(text, {"x": 1, "y": -1}) for text in (asked, seen, unseen)),
        validation=0.3,
        holdout=0.3,
    )
    examples = [{"validation": asked, "match of": teaching}, {"holdout": seen, "match of": teaching}]
    assert brief("held_out_contents_seen", told)[0] == 2
    assert sorted(brief("held_out_contents_seen", told)[1], key=str) == sorted(examples, key=str)


def test_an_anchor_without_content_is_on_no_side() -> None:
    """What it judges was not seen in training as far as anybody knows."""
    seen = next(on_side("holdout"))
    judged = Pack(0, ["?", seen], None, None, np.array([0]), np.array([0, 1]), np.array([1]), np.ones(1))
    contents = corpus(seen, next(on_side("training")))
    told = lint([contents, *packed([anchor(seen, {})]), judged], validation=0.3, holdout=0.3)
    assert found("held_out_contents_seen", told) is None


@pytest.mark.parametrize(
    ("one", "other", "counted"),
    [
        ("training", "validation", 1),
        ("training", "holdout", 1),
        ("validation", "holdout", 1),
        ("training", "training", 0),
        ("holdout", "holdout", 0),
    ],
)
def test_near_anchors_on_two_sides(one: Side, other: Side, counted: int) -> None:
    """Each content on the later side counts once; two that are near on one side do not leak."""
    spelled = ("wherefore" + "!" * marks for marks in count())
    texts = [next(text for text in spelled if side_of(text) == side) for side in (one, other)]
    told = report(*(anchor(text, {"x": 1, "y": -1}) for text in texts), validation=0.3, holdout=0.3)
    assert brief("near_duplicate_anchors", told)[0] == 2
    examples = [{other: texts[1], one: texts[0]}] if counted else []
    assert brief("near_anchors_on_two_sides", told) == (counted, examples)


def flawed() -> list[Document]:
    """Return match data with many findings."""
    twins = [match("twin", 1, name="t1"), match("Twin", -1, name="t2")]
    return [
        *safe(),
        anchor("lonely", {}),
        anchor("lonely?", {"lonely?": 1, "x": -1}),
        anchor("happy", {"x": 1, "y": None}),
        anchor("happy", {"x": 1}, name="h" * 60),
        Document(id="q'", text="q", matches=twins),
    ]


def test_the_table_says_what_the_data_says() -> None:
    """Each finding is a row with its severity, name and count, and its advice and examples beside it."""
    told = report(*flawed())
    data, lines = told.as_dict(), told.as_table().splitlines()
    names = [one["name"] for one in data["findings"]]
    assert len(names) == len(set(names)) == 9
    assert [one["examples"] for one in data["findings"]] == [list(one.examples) for one in told.findings]
    for one in data["findings"]:
        name = one["name"].replace("_", " ")
        row = next(number for number, line in enumerate(lines) if f"  {name}  " in line)
        assert lines[row].split()[0] == one["severity"]
        assert lines[row].removeprefix(one["severity"]).split(name)[1].split()[0] == f"{one['count']:,}"
        block = " ".join(" ".join(lines[row : row + 12]).split())
        assert one["advice"].split()[0] in lines[row]
        assert all(repr(value)[1:40] in block for example in one["examples"] for value in example.values())


def test_the_table_is_readable() -> None:
    """Columns are aligned, long ids are cut, and no line but those of examples is wider than a screen."""
    lines = str(report(*flawed())).splitlines()
    assert lines[:2] == [
        "7 anchors, 15 documents, 14 contents",
        "11 matches: 6 positive, 4 negative, 0 zero, 1 unjudged",
    ]
    start = lines.index(next(line for line in lines if line.startswith("severity")))
    column = lines[start].index("what it means")
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines[start + 2 :])
    assert all(line[column - 3].isdigit() for line in lines if line.startswith(("warning", "note")))
    assert max(len(line) for line in lines if "e.g." not in line) <= 112
    assert f"anchor '{'h' * 45}...', same as 'happy'" in str(report(*flawed()))


def test_a_table_without_findings_says_so() -> None:
    """Silence could be a failure."""
    assert report(*safe()).as_table().endswith("Nothing was found.")


def test_the_worst_comes_first() -> None:
    """Errors stand before warnings, and those before notes."""
    told = report(anchor("a", {"a": 1}), anchor("a", {"b": None}, name="c"))
    severities = [one.severity for one in told.findings]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert {"error", "warning", "note"} == set(severities)


def test_the_data_is_json() -> None:
    """It comes back from JSON as it went."""
    data = report(*flawed()).as_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_five_examples_are_kept() -> None:
    """The count is of all, the examples are the first that came."""
    told = lint(packed([anchor(f"a{n}", {}) for n in range(9)], anchors=2), validation=0, holdout=0)
    assert brief("anchors_without_match", told) == (9, [{"anchor": f"a{n}"} for n in range(5)])
    told = lint(packed([anchor(f"a{n}", {f"a{n}": 1}) for n in range(9)], anchors=2), validation=0, holdout=0)
    assert brief("self_matches", told) == (9, [{"anchor": f"a{n}", "match": f"a{n}"} for n in range(5)])


def test_the_kind_can_be_chosen() -> None:
    """Of documents with both, the array is looked at by default, and the text if it is asked for."""
    both = [Document(id=f"d{n}", text="same", blob=np.arange(n, n + 3)) for n in range(3)]
    assert lint(packed(both)).counts.contents == 3
    assert lint(packed(both), kind="text").counts.contents == 1


def test_contents_of_another_kind_or_shape_are_named() -> None:
    """What the others cannot be compared with is an error with its id."""
    array = Document(id="array", blob=np.ones(3, np.float32))
    with pytest.raises(ContentError, match=r"'array' has no \.text"):
        lint([*packed(safe()), *packed([array])])
    odd = Document(id="odd", blob=np.ones(4, np.float32))
    with pytest.raises(ContentError, match="'odd'"):
        lint([*packed([array]), *packed([odd])])


def test_integers_among_floats_are_floats() -> None:
    """JSON writes 1.0 as 1, and a store takes both as the same content."""
    whole = Document(id="a", blob=np.arange(20))
    told = lint([*packed([replace(whole, id="b", blob=np.arange(20, dtype=np.float32))]), *packed([whole])])
    assert (told.counts.documents, told.counts.contents) == (2, 1)


def test_shares_that_leave_nothing_are_refused() -> None:
    """The message is that of the split."""
    with pytest.raises(OptionError, match=r"validation=0\.5, holdout=0\.5"):
        report(*safe(), validation=0.5, holdout=0.5)


def test_memory_does_not_grow_with_judgements() -> None:
    """20,000 judgements need less than 2 bytes each beyond what 200 about the same documents need."""
    documents = [anchor(f"a{n}", {f"m{n}": 1, f"m{n + 1}": -1}) for n in range(50)]
    parts = list(packed(documents, standalone=True))

    def peak(times: int) -> int:
        tracemalloc.start()
        lint(part for _ in range(times) for part in parts)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak(200) - peak(2) < 40_000


def test_keys_are_numbered_in_the_order_in_which_they_come() -> None:
    """Over many calls a dictionary says the same, and tells which keys are new."""
    drawn = np.random.default_rng(0)
    numbered, known = Numbered(), dict[int, int]()
    for size in drawn.integers(0, 60, 80):
        keys = drawn.integers(0, 2000, size).astype(np.uint64)
        before = len(known)
        expected = [known.setdefault(key, len(known)) for key in keys.tolist()]
        numbers, new = numbered.add(keys)
        assert (numbers.tolist(), len(numbered)) == (expected, len(known))
        assert keys[new].tolist() == list(known)[before:]


def test_names_come_back_by_number() -> None:
    """Whatever their characters, also lone surrogates and nothing at all."""
    names, told = Names(), ["a", "", "straße 🦊", "\ud800", "z" * 1000]
    names.extend(told[:2])
    names.extend([])
    names.extend(told[2:])
    assert [names[number] for number in range(5)] == told


def naively(asked: Signatures, known: Signatures, *, bits: int, themselves: bool) -> list[bool]:
    """Return whether each signature has one near it, from all distances in both halves."""
    apart = np.bitwise_count(asked[:, None] ^ known).max(axis=2) > bits
    if themselves:
        np.fill_diagonal(apart, val=True)
    return (~apart).any(axis=1).tolist()


@pytest.mark.parametrize("fuzzy", [True, False])
def test_near_signatures_are_those_of_all_pairs(fuzzy: bool) -> None:
    """A search finds a near one where comparing each with each does, among others and among themselves."""
    drawn = np.random.default_rng(1)
    base = drawn.integers(0, 2**63, (12, 2)).astype(np.uint64)
    flips = np.concatenate([np.zeros(1, np.uint64), np.uint64(1) << np.array([0, 13, 31, 62, 63], np.uint64)])
    known = base[drawn.integers(0, 12, 60)] ^ drawn.choice(flips, (60, 2))
    asked = base[drawn.integers(0, 12, 80)] ^ drawn.choice(flips, (80, 2)) ^ drawn.choice(flips, (80, 2))
    for one, themselves in ((asked, False), (known, True), (np.unique(known, axis=0), True), (base, True)):
        among = one if themselves else known
        rows = near(one, among, fuzzy=fuzzy, themselves=themselves)
        assert (rows >= 0).tolist() == naively(one, among, bits=int(fuzzy), themselves=themselves)
        hits = np.flatnonzero(rows >= 0)
        assert (np.bitwise_count(one[hits] ^ among[rows[hits]]) <= int(fuzzy)).all()
        assert not themselves or (rows[hits] != hits).all()


def test_different_arrays_of_one_look_are_not_near() -> None:
    """Of 1,000 arrays that have a cosine of 0.9 with each other, half a signature confuses dozens."""
    drawn = np.random.default_rng(2)
    alike = signatures(
        (3 * drawn.standard_normal(400) + drawn.standard_normal((1000, 400))).astype(np.float32)
    )
    assert (near(alike, alike, fuzzy=True, themselves=True) >= 0).sum() <= 4
    half = alike * np.array([1, 0], np.uint64)
    assert (near(half, half, fuzzy=True, themselves=True) >= 0).sum() > 30


TEXTS = ["a", "A", "a!", "b", "B b", "b  b", "c", "d", "e", "f"]
JUDGED = st.dictionaries(st.integers(0, 9), st.sampled_from([1.0, -1.0, 0.0, 2.5, None]), max_size=5)


@settings(max_examples=25, deadline=None)
@given(
    asked=st.dictionaries(st.integers(0, 9), JUDGED, max_size=10),
    seed=st.integers(0, 1000),
    anchors=st.integers(1, 4),
    standalone=st.booleans(),
)
def test_counts_depend_neither_on_the_order_nor_on_the_packing(
    asked: Mapping[int, Mapping[int, float | None]], seed: int, anchors: int, standalone: bool
) -> None:
    """Whatever the anchors judge, in whichever order they come, and however many are in a pack."""
    documents = [
        Document(
            id=f"d{number}",
            text=TEXTS[number],
            matches=[match(TEXTS[one], label, name=f"d{one}") for one, label in judged.items()],
        )
        for number, judged in asked.items()
    ]
    whole = lint(packed(documents), validation=0.3, holdout=0.3)
    random.Random(seed).shuffle(documents)
    parts: Sequence[Pack] = list(packed(documents, anchors=anchors, standalone=standalone))
    if standalone:
        parts = random.Random(seed).sample(parts, len(parts))
    told = lint(parts, validation=0.3, holdout=0.3)
    assert told.counts == whole.counts
    assert {one.name: one.count for one in told.findings} == {one.name: one.count for one in whole.findings}
