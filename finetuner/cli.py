"""The command line: ``python -m finetuner COMMAND``; what is wrong with its arguments or files ends with exit code 2."""

import argparse
import csv
import json
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from finetuner.documents import Array
from finetuner.doors import Roles, open_door
from finetuner.errors import FinetunerError, OptionError, SourceError
from finetuner.exporting import FORMATS, export
from finetuner.lifecycle import load
from finetuner.lifecycle.version import ABOUT
from finetuner.matches import MatchSet, MatchSetBuilder
from finetuner.mining import Mined, MiningOptions, mine_negatives
from finetuner.models import Encoder, EncoderSpec, build_encoder
from finetuner.store import MatchStore

_MINE: list[tuple[str, dict[str, Any]]] = [
    ("file", {"type": Path, "help": "match data: CSV, TSV, JSON Lines or Parquet"}),
    ("--encoder", {"required": True, "help": "as finetuner.build_encoder takes it, or a version's folder"}),
    ("--factory", {"help": "package.module:factory of the version's encoder, if it is one of your own"}),
    ("--out", {"type": Path, "required": True, "help": "where to write them: .jsonl or, for texts, .csv"}),
    (
        "--roles",
        {"nargs": "+", "default": [], "metavar": "ROLE=COLUMN", "help": "such as anchor=query match=text"},
    ),
    ("--count", {"type": int, "default": 5, "help": "negatives of an anchor at most"}),
    ("--guard", {"type": float, "default": 0.95, "help": "see finetuner.mining.mine; 0 for no guard"}),
    ("--skip", {"type": int, "default": 0, "help": "how many of the nearest to pass over"}),
    ("--sampling", {"choices": ["top", "random"], "default": "top", "help": "which of them to take"}),
    ("--depth", {"type": int, "help": "how many of the nearest to draw from; 10 times count"}),
    ("--seed", {"type": int, "default": 0, "help": "decides what is drawn"}),
]
_EXPORT: list[tuple[str, dict[str, Any]]] = [
    ("source", {"help": "a version's folder, or an encoder as finetuner.build_encoder takes it"}),
    ("--format", {"choices": FORMATS, "required": True, "help": "see finetuner.exporting"}),
    ("--out", {"type": Path, "required": True, "help": "a folder that is not there yet"}),
    ("--encoder", {"help": "package.module:factory of the version's encoder, if it is one of your own"}),
    (
        "--shape",
        {
            "type": int,
            "nargs": "+",
            "help": "of the arrays that it takes, such as 28 28, for onnx; mlp needs none",
        },
    ),
]
_COLUMNS = ("anchor_id", "anchor", "match_id", "match", "label", "cosine")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, or 2 with a message on stderr.

    Args:
        arguments: Those after the program's name; by default the program's own.
    """
    chosen = _parser().parse_args(arguments)
    try:
        sys.stdout.write(f"{chosen.run(chosen)}\n")
    except FinetunerError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m finetuner", description="Tune embeddings from match data."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    mine = commands.add_parser("mine", help="find hard negatives: the nearest wrong contents of each anchor")
    _add(mine, _MINE, _mine)
    _add(commands.add_parser("export", help="write a version in a format that others read"), _EXPORT, _export)
    return parser


def _add(
    command: argparse.ArgumentParser,
    arguments: list[tuple[str, dict[str, Any]]],
    run: Callable[[argparse.Namespace], str],
) -> None:
    for names, options in arguments:
        command.add_argument(names, **options)
    command.set_defaults(run=run)


def _mine(chosen: argparse.Namespace) -> str:
    encoder = (
        load(chosen.encoder, encoder=chosen.factory)
        if _is_version(chosen.encoder, factory=chosen.factory, option="--factory")
        else build_encoder(EncoderSpec(chosen.encoder))
    )
    is_csv = chosen.out.suffix == ".csv"
    if chosen.out.suffix not in (".jsonl", ".csv") or (is_csv and encoder.kind == "blob"):
        raise OptionError(f"--out {chosen.out}: the suffix tells the format; give .jsonl or, for texts, .csv")
    if not chosen.out.parent.is_dir():
        raise SourceError(f"{chosen.out}: this cannot be written: there is no folder {chosen.out.parent}")
    matches, refused = _read(chosen.file, _roles(chosen.roles), encoder)
    options: dict[str, Any] = {name: getattr(chosen, name) for name in MiningOptions.__annotations__}
    mined = mine_negatives(encoder, matches, **{**options, "guard": chosen.guard or None})
    _write(chosen.out, matches, mined)
    return (
        f"{chosen.out}: {mined.found:,} negatives of {len(matches):,} anchors; {mined.short:,} have fewer than "
        f"{chosen.count}, {mined.guarded:,} were guarded, {mined.unguarded:,} have no positive; {refused:,} rows refused"
    )


def _export(chosen: argparse.Namespace) -> str:
    is_version = _is_version(chosen.source, factory=chosen.encoder, option="--encoder")
    if chosen.shape and chosen.format == "safetensors":
        raise OptionError("--shape goes with a format whose embeddings are compared; safetensors has none")
    if is_version:
        encoder = load(chosen.source, encoder=chosen.encoder)
    else:
        encoder = build_encoder(EncoderSpec(chosen.source))
    exported = export(
        chosen.source if is_version else encoder,
        chosen.out,
        format=chosen.format,
        encoder=chosen.encoder,
        sample=_sample(chosen.shape, floats=encoder.takes_floats),
    )
    if exported.parity is None:
        return f"{exported.folder}: the weights as they are"
    contents, difference, cosine = exported.parity
    return (
        f"{exported.folder}: on {contents} contents its embeddings differ from the encoder's by {difference:.1e} at "
        f"most; the least cosine is {cosine:.7f}"
    )


def _sample(shape: Sequence[int] | None, *, floats: bool) -> Array | None:
    if shape is None:
        return None
    if min(shape) < 1:
        raise OptionError(f"--shape {' '.join(map(str, shape))}: each has to be at least 1")
    if not floats:  # the one token id that every vocabulary has
        return np.zeros((8, *shape), np.int64)
    return np.random.default_rng(0).random((8, *shape), np.float32)


def _is_version(name: str, *, factory: str | None, option: str) -> bool:
    """Return whether a folder is that of a version; only then may a factory be named."""
    is_version = Path(name, ABOUT).is_file()
    if factory is not None and not is_version:
        raise OptionError(f"{option} goes with a version's folder, and {name} is none")
    return is_version


def _roles(given: Sequence[str]) -> Roles:
    roles: dict[str, Any] = {}
    for one in given:
        role, sign, column = one.partition("=")
        if not sign:
            raise OptionError(f"--roles {one}: give ROLE=COLUMN, such as anchor=query")
        try:
            roles[role] = json.loads(column) if column[:1] in ("[", "{") else column
        except ValueError as error:
            raise OptionError(f"--roles {one}: this is no JSON: {error}") from error
    return Roles.parse(roles, where="--roles")


def _read(path: Path, roles: Roles, encoder: Encoder) -> tuple[MatchSet, int]:
    """Return the match data of a file, and how many rows were refused; a store settles what judgements name by id."""
    builder = MatchSetBuilder(encoder.kind, floats=encoder.takes_floats)
    door = open_door(path, roles)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(MatchStore(f"sqlite:///{folder}/matches.db")) as store,
    ):
        refused = sum(store.feed("mine", [pack], refuse=True).refused for pack in door.packs)
        for pack in store.packs("mine"):
            builder.extend(pack)
    return builder.build(), refused + door.refused


def _write(path: Path, matches: MatchSet, mined: Mined) -> None:
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with aside.open("w", encoding="utf-8", newline="") as file:
            if path.suffix == ".csv":
                csv.writer(file).writerows([_COLUMNS, *_rows(matches, mined)])
            else:
                lines = (dict(zip(_COLUMNS, row, strict=True)) for row in _rows(matches, mined))
                file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        aside.replace(path)
    except OSError as error:
        raise SourceError(f"{path}: this cannot be written: {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)


def _rows(matches: MatchSet, mined: Mined) -> Iterator[tuple[Any, ...]]:
    owner, slot = np.nonzero(mined.rows >= 0)
    cosines = np.round(mined.cosine[owner, slot].astype(np.float64), 6)
    pairs = zip(
        matches.anchors[owner].tolist(), mined.rows[owner, slot].tolist(), cosines.tolist(), strict=True
    )
    for anchor, match, cosine in pairs:
        told = (matches.ids[anchor], _plain(matches, anchor), matches.ids[match], _plain(matches, match))
        yield (*told, -1, cosine)


def _plain(matches: MatchSet, row: int) -> Any:
    content = matches.contents[row]
    return content.tolist() if isinstance(content, np.ndarray) else content
