"""The command line: what it writes, and that faults end with a message and exit code 2."""

import csv
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import finetuner
from finetuner.cli import main
from finetuner.doors import Roles, open_door
from finetuner.lifecycle import Registry
from tests.two_classes import SPEC, encoder, points

FACTORY = f"{__name__}:Lengths"
ROLES = ["anchor=query", "match=text", "label=label"]
ROWS = "query,text,label\nf,fe,1\nf,fedcba,-1\ng,fed,1\ng,fedcbazyx,-1\n"


class Lengths(nn.Module):
    """Maps a text to a vector by its length."""

    def tokenize(self, texts: list[str]) -> dict[str, Tensor]:
        """Return how long they are."""
        return {"length": torch.tensor([[float(len(text))] for text in texts])}

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return vectors that turn with the length, (B, 2)."""
        turned = features["length"] / 8
        return torch.cat([turned.cos(), turned.sin()], dim=1)


def mine(folder: Path, *more: str, out: str = "mined.jsonl", rows: str = ROWS) -> int:
    """Write a file, mine it, and return the exit code."""
    (folder / "data.csv").write_text(rows, encoding="utf-8")
    given = ["mine", str(folder / "data.csv"), "--out", str(folder / out), "--encoder", FACTORY]
    return main([*given, "--count", "1", *more])


def test_mined_negatives_are_written_with_their_cosines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of length 1 are f and g; nearest to f is g, as its equal, without a guard; the report tells how many."""
    assert mine(tmp_path, "--guard", "0", "--roles", *ROLES) == 0
    lines = [json.loads(line) for line in (tmp_path / "mined.jsonl").read_text().splitlines()]
    assert [(one["anchor"], one["match"], one["label"], one["cosine"]) for one in lines] == [
        ("f", "g", -1, 1.0),
        ("g", "f", -1, 1.0),
    ]
    assert "2 negatives of 2 anchors; 0 have fewer than 1" in capsys.readouterr().out


def test_the_guard_is_on_by_default(tmp_path: Path) -> None:
    """Text g is nearer to f than its positive, so it is left out, and the next wrong one comes."""
    assert mine(tmp_path, "--roles", *ROLES) == 0
    first = json.loads((tmp_path / "mined.jsonl").read_text().splitlines()[0])
    assert (first["anchor"], first["match"]) == ("f", "fedcbazyx")


def test_a_table_is_written_where_the_suffix_says_so(tmp_path: Path) -> None:
    """CSV has the same columns as JSONL."""
    assert mine(tmp_path, "--guard", "0", "--roles", *ROLES, out="mined.csv") == 0
    with (tmp_path / "mined.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["anchor_id", "anchor", "match_id", "match", "label", "cosine"]
    assert [(row["anchor"], row["match"]) for row in rows] == [("f", "g"), ("g", "f")]


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_door_reads_what_was_written(tmp_path: Path, suffix: str) -> None:
    """The negatives come back as judgements of -1 about documents with the same ids."""
    assert mine(tmp_path, "--guard", "0", "--roles", *ROLES, out=f"mined.{suffix}") == 0
    roles = Roles(anchor="anchor", anchor_id="anchor_id", match="match", match_id="match_id", label="label")
    door = open_door(tmp_path / f"mined.{suffix}", roles)
    [pack] = door.packs
    assert (pack.labels.tolist(), door.refused) == ([-1, -1], 0)
    assert sorted(pack.texts or ()) == ["f", "g"]


def test_class_labels_are_mined_as_well(tmp_path: Path) -> None:
    """Judgements that name their documents by id alone find them; what is of another class is mined."""
    rows = "text,kind\n" + "".join(f"{'x' * length},{length % 2}\n" for length in range(1, 9))
    given = ["content=text", "class_column=kind", "num_pos=2", "num_neg=2"]
    assert mine(tmp_path, "--roles", *given, "--guard", "0", rows=rows) == 0
    lines = [json.loads(line) for line in (tmp_path / "mined.jsonl").read_text().splitlines()]
    assert lines
    assert all(len(one["anchor"]) % 2 != len(one["match"]) % 2 for one in lines)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--roles", "anchor"], "OptionError: --roles anchor: give ROLE=COLUMN"),
        (["--roles", "labels={"], "OptionError: --roles labels={: this is no JSON"),
        (["--roles", "ancor=query"], "unknown option 'ancor'"),
        (["--roles", *ROLES, "--encoder", "nope"], "EncoderError: encoder 'nope' is not known"),
        (["--roles", *ROLES, "--guard", "2"], "OptionError: guard is 2.0"),
        (["--roles", *ROLES, "--depth", "9"], "OptionError: sampling='top', depth=9"),
        (["--roles", *ROLES, "--out", "mined.txt"], "OptionError: --out mined.txt: the suffix"),
        (["--roles", *ROLES, "--encoder", "mlp", "--out", "m.csv"], "OptionError: --out m.csv"),
        (["--roles", *ROLES, "--out", "no/such/folder/m.jsonl"], "SourceError: no/such/folder/m.jsonl"),
        (["--roles", "anchor=query", "match=other"], "SourceError"),
        (["--roles", *ROLES, "--factory", "a:b"], "OptionError: --factory goes with a version's folder"),
    ],
)
def test_a_fault_is_a_message_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    """Each fault is told on stderr by the name of its error, and nothing is written."""
    assert mine(tmp_path, *more) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def version(folder: Path) -> Path:
    """Return the folder of a version."""
    encoder().save(folder / "weights")
    return Registry(folder / "registry").register(folder / "weights", SPEC, {}).folder


def test_a_version_is_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says where it is, and that it loads is seen."""
    folder, out = version(tmp_path), tmp_path / "out"
    assert main(["export", str(folder), "--format", "safetensors", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: the weights as they are\n"
    assert (finetuner.load(out).embed(points(3)) == encoder().embed(points(3))).all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--format", "sentence-transformers"],
            "EncoderError: encoder 'mlp' is none of a sentence-transformers",
        ),
        (["--format", "onnx", "--shape", "2", "0"], "OptionError: --shape 2 0: each has to be at least 1"),
        (["--format", "safetensors", "--encoder", "my.own:net"], "got encoder='my.own:net'"),
    ],
)
def test_what_cannot_be_exported_is_a_message_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    """And nothing is written."""
    assert main(["export", str(version(tmp_path)), "--out", str(tmp_path / "out"), *more]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_changed_byte_is_a_message_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged version is not exported."""
    folder = version(tmp_path)
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert main(["export", str(folder), "--format", "onnx", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("DamagedVersionError: ")
    assert not (tmp_path / "out").exists()


def test_an_unknown_command_ends_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """As argparse has it."""
    with pytest.raises(SystemExit) as ended:
        main(["dig"])
    assert ended.value.code == 2
    assert "mine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--encoder", "no.such:thing"],
            "OptionError: --encoder goes with a version's folder, and mlp is none",
        ),
        (["--shape", "3", "3"], "OptionError: --shape goes with a format whose embeddings are compared"),
    ],
)
def test_an_export_refuses_what_it_would_ignore(
    more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a factory of what is no version, nor the shape of contents that are never embedded."""
    assert main(["export", "mlp", "--format", "safetensors", "--out", str(tmp_path / "out"), *more]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
