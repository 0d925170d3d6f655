"""Class labels: contents first, then a few judgements of each, never n²."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.contents import content_hash
from finetuner.doors import Door, gathering
from finetuner.errors import LabelError
from finetuner.packs import Pack
from tests.door_files import judgements, opened, reasons

ROLES: dict[str, Any] = {"content": "t", "class_column": "k"}


def door(folder: Path, rows: list[tuple[str, str]], **options: Any) -> Door:
    """Return a door to contents with their classes."""
    data = "t,k\n" + "".join(f"{text},{name}\n" for text, name in rows)
    return opened(folder / "x.csv", data, **ROLES, **options)


def classed(sizes: dict[str, int]) -> list[tuple[str, str]]:
    """Return so many contents of each class, whose texts begin with it, in a mixed order."""
    rows = [(f"{name}{number}", name) for name, size in sizes.items() for number in range(size)]
    return [rows[number] for number in np.random.default_rng(0).permutation(len(rows))]


def drawn(packs: list[Pack]) -> dict[str, dict[str, float | None]]:
    """Return the matches of each anchor with their labels, by text."""
    text_of = {name: text for pack in packs for name, text in zip(pack.ids, pack.texts or (), strict=False)}
    found: dict[str, dict[str, float | None]] = defaultdict(dict)
    for anchor, match, label in judgements(packs):
        assert text_of[match] not in found[text_of[anchor]], "a match comes once"
        found[text_of[anchor]][text_of[match]] = label
    return dict(found)


def test_contents_come_before_judgements_by_their_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first packs have no anchors, the later ones no contents; ids are hashes."""
    monkeypatch.setattr(gathering, "MATCHES", 100)
    packs = list(door(tmp_path, classed({"a": 60, "b": 50}), num_pos=1, num_neg=1).packs)
    bring = [pack for pack in packs if pack.carried]
    assert bring == packs[:2]
    assert [len(pack.ids) for pack in bring] == [100, 10]
    assert all(len(pack.anchors) == 0 for pack in bring)
    assert all(pack.carried == 0 and len(pack.anchors) for pack in packs[2:])
    assert bring[0].ids[0] == content_hash((bring[0].texts or [""])[0]).hex()


def test_each_anchor_has_so_many_of_its_class_and_of_others(tmp_path: Path) -> None:
    """All contents are anchors, in the order of the file; labels say whether the classes are the same."""
    rows = classed({"a": 30, "b": 25, "c": 20})
    found = drawn(list(door(tmp_path, rows, num_pos=4, num_neg=6).packs))
    assert list(found) == [text for text, _ in rows]
    for anchor, matches in found.items():
        assert anchor not in matches
        assert sorted(matches.values(), key=str) == [-1] * 6 + [1] * 4
        assert all((match[0] == anchor[0]) == (label == 1) for match, label in matches.items())


def test_all_contents_can_be_drawn(tmp_path: Path) -> None:
    """The first and the last of each class, too."""
    found = drawn(list(door(tmp_path, classed({"a": 6, "b": 7, "c": 5}), num_pos=3, num_neg=5).packs))
    for label in (1, -1):
        matches = {match for judged in found.values() for match, said in judged.items() if said == label}
        assert len(matches) == 18


def test_of_a_small_class_all_are_taken(tmp_path: Path) -> None:
    """Two contents of a class match each other; one alone has only negatives."""
    found = drawn(list(door(tmp_path, classed({"a": 2, "b": 1}), num_pos=10, num_neg=10).packs))
    assert found["a0"] == {"a1": 1, "b0": -1}
    assert found["b0"] == {"a0": -1, "a1": -1}


def test_one_content_is_no_judgement(tmp_path: Path) -> None:
    """It is brought, and there is nothing to match it with."""
    [pack] = door(tmp_path, [("a", "k")]).packs
    assert (pack.texts, len(pack.anchors)) == (["a"], 0)


def test_the_seed_decides_what_is_drawn(tmp_path: Path) -> None:
    """The same seed draws the same, another one something else."""
    rows = classed({"a": 50, "b": 50})
    first, again, other = (
        drawn(list(door(tmp_path, rows, num_pos=3, num_neg=3, seed=seed).packs)) for seed in (0, 0, 1)
    )
    assert first == again
    assert sum(first[name] == other[name] for name in first) < 5


def test_anchors_draw_apart(tmp_path: Path) -> None:
    """Not all anchors get the same negatives."""
    found = drawn(list(door(tmp_path, classed({"a": 50, "b": 50}), num_pos=1, num_neg=3).packs))
    assert (
        len({frozenset(match for match in found[f"a{number}"] if match[0] == "b") for number in range(50)})
        > 40
    )


def test_equal_contents_are_one(tmp_path: Path) -> None:
    """A content that comes again is not matched with itself, and counts once."""
    rows = [("x", "a"), ("x", "a"), ("y", "a"), ("z", "b")]
    packs = list(door(tmp_path, rows).packs)
    assert drawn(packs) == {"x": {"y": 1, "z": -1}, "y": {"x": 1, "z": -1}, "z": {"x": -1, "y": -1}}


def test_a_content_of_two_classes_keeps_the_first(tmp_path: Path) -> None:
    """The later row is refused, and tells where the first is."""
    found = door(tmp_path, [("x", "a"), ("y", "b"), ("x", "b"), ("z", "a")])
    assert drawn(list(found.packs))["x"] == {"z": 1, "y": -1}
    [refusal] = found.refusals
    assert refusal.place == f"{tmp_path / 'x.csv'}:4"
    assert refusal.reason == f"class 'b', but the same content has class 'a' in {tmp_path / 'x.csv'}:2"


def test_strict_raises_for_a_content_of_two_classes(tmp_path: Path) -> None:
    """It contradicts itself, which is a LabelError."""
    with pytest.raises(LabelError, match=r"x\.csv:3: class 'b'"):
        list(door(tmp_path, [("x", "a"), ("x", "b")], strict=True).packs)


def test_a_content_without_a_class_is_brought_and_not_judged(tmp_path: Path) -> None:
    """Nobody said what it is, so it is neither anchor nor match."""
    found = door(tmp_path, [("x", "a"), ("y", ""), ("z", "a")])
    packs = list(found.packs)
    assert packs[0].texts == ["x", "y", "z"]
    assert drawn(packs) == {"x": {"z": 1}, "z": {"x": 1}}
    assert found.refused == 0


def test_unfit_rows_are_refused(tmp_path: Path) -> None:
    """An empty content, and a class that is neither text nor a whole number; a boolean is a class."""
    rows = [
        {"t": "x", "k": True},
        {"t": "", "k": 1},
        {"t": "y", "k": [1]},
        {"t": "z", "k": True},
        {"t": "u", "k": 0.5},
    ]
    found = opened(tmp_path / "x.jsonl", rows, **ROLES)
    assert [(line, reason[:9]) for line, reason in reasons(found)] == [
        *(("2", "column 't"), ("3", "the class"), ("5", "the class"))
    ]


def test_arrays_can_have_classes(tmp_path: Path) -> None:
    """Images with a class number: the contents are one array."""
    rows = [{"t": [[0.5, number]], "k": number % 2} for number in range(6)]
    first, *others = opened(tmp_path / "x.jsonl", rows, **ROLES).packs
    assert first.blobs is not None
    assert first.blobs.shape == (6, 1, 2)
    assert sum(len(pack.matches) for pack in others) == 6 * (2 + 3)
