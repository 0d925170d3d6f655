"""Encoders out of the house: in formats that other programs read, each compared with the encoder before it is there.

    sentence-transformers   a folder for ``SentenceTransformer(folder)``, with heads as modules of that library
    onnx                    ``model.onnx``, and beside it what the tokenizer needs
    safetensors             a sealed folder as the registry keeps it, for ``finetuner.load(folder)``

The way back in is to name a sentence-transformers folder as an encoder, or to load a safetensors one.
"""

import copy
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Literal, NamedTuple, get_args

import numpy as np
from safetensors import SafetensorError
from torch import nn

from finetuner.contents import Contents
from finetuner.durable import sync, sync_tree
from finetuner.errors import OptionError, SourceError
from finetuner.exporting import onnx_file, sentence_folder
from finetuner.exporting.parity import TEXTS, Embed, Parity, compare
from finetuner.exporting.readme import readme
from finetuner.lifecycle import load
from finetuner.lifecycle.version import write_version
from finetuner.models import Encoder

Format = Literal["sentence-transformers", "onnx", "safetensors"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        folder: Where it is.
        format: In which format.
        parity: How near its embeddings come to those of the encoder; None for safetensors, which are its own weights.
    """

    folder: Path
    format: Format
    parity: Parity | None


class Maker(NamedTuple):
    """How a format is made.

    Attributes:
        write: Writes an encoder into a new folder; contents that it takes are given.
        reader: Returns what embeds with that folder as others do.
        use: Returns lines of Python for who has the folder.
        tolerance: The largest difference of two numbers that is accepted.
    """

    write: Callable[[Encoder, Path, Contents], None]
    reader: Callable[[Path], Embed]
    use: Callable[[Encoder, Contents], str]
    tolerance: float


MAKERS: dict[Format, Maker] = {
    "sentence-transformers": Maker(
        sentence_folder.write, sentence_folder.reader, sentence_folder.use, tolerance=1e-5
    ),
    # onnxruntime sums up in another order
    "onnx": Maker(onnx_file.write, onnx_file.reader, onnx_file.use, tolerance=1e-4),
}


def export(
    source: Encoder | str | Path,
    target: str | Path,
    *,
    format: Format,
    encoder: str | None = None,
    sample: Contents | None = None,
) -> Exported:
    """Write an encoder into a new folder, which is there when it is complete.

    Args:
        source: The encoder, or the folder of a version.
        target: The folder; it must not be there.
        format: ``sentence-transformers``, ``onnx`` or ``safetensors``.
        encoder: As for :func:`finetuner.load`.
        sample: Contents on which the result is compared with the encoder; for ``onnx`` they tell the shape of arrays,
            too. By default some texts, or for ``mlp`` rows of numbers.

    Raises:
        OptionError: If there is no such format, the folder is there, a sample is missing, or a package is not
            installed.
        EncoderError: If the encoder cannot be told in that format, or the result makes other embeddings.
        DamagedVersionError: If the version's folder is not as it was registered.
        SourceError: If it cannot be written.
    """
    target = Path(target)
    if format not in FORMATS:
        raise OptionError(f"format={format!r}: accepted are {', '.join(FORMATS)}")
    if target.exists():
        raise OptionError(f"{target}: this is there already; name a folder that is not")
    made = source if isinstance(source, Encoder) else load(source, encoder=encoder)
    with _aside(target) as aside:
        if format == "safetensors":
            parity = None
            _seal(source, aside, name=target.name)
        else:
            parity = _write(_ready(made), aside, format, _sample(made, sample))
    return Exported(target, format, parity)


def _write(encoder: Encoder, folder: Path, format: Format, sample: Contents) -> Parity:
    maker = MAKERS[format]
    dim = encoder.embed(sample[:1]).shape[1]
    maker.write(encoder, folder, sample)
    parity = compare(encoder, maker.reader(folder), sample, tolerance=maker.tolerance)
    told = readme(encoder, dim=dim, use=maker.use(encoder, sample), parity=parity)
    (folder / "README.md").write_text(told, encoding="utf-8")
    return parity


def _seal(source: Encoder | str | Path, folder: Path, *, name: str) -> None:
    """Write what the registry keeps of a version: that is a version's own folder, and of an encoder one like it."""
    if isinstance(source, Encoder):
        source.save(folder)
        write_version(folder, source.spec, {"version": name})
    else:
        shutil.copytree(source, folder)


def _ready(encoder: Encoder) -> Encoder:
    """Return the encoder on the CPU, as it is when it embeds; another one is left where it is."""
    return (encoder if encoder.device.type == "cpu" else copy.deepcopy(encoder).cpu()).eval()


def _sample(encoder: Encoder, given: Contents | None) -> Contents:
    if given is not None:
        if len(given) == 0:
            raise OptionError("sample: this is empty; give at least one content")
        return given
    if encoder.kind == "text":
        return TEXTS
    if encoder.spec.name != "mlp":
        raise OptionError(
            f"sample: encoder {encoder.spec.name!r} takes arrays of a shape; give some that it takes"
        )
    width = next(one.in_features for one in encoder.module.modules() if isinstance(one, nn.Linear))
    return np.random.default_rng(0).random((8, width), np.float32)


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """Give a place beside the target, which becomes the target in the end, and nothing if something goes wrong."""
    aside = target.with_name(f".{target.name}.{token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        sync_tree(aside)
        aside.rename(target)
        sync(target.parent)
    except (OSError, SafetensorError) as error:
        raise SourceError(f"{target}: this cannot be written: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
