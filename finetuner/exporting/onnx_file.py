"""An encoder as an ONNX file: tokens or arrays in, embeddings out, for programs that know neither torch nor Finetuner."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from finetuner.contents import Contents
from finetuner.errors import EncoderError, OptionError
from finetuner.exporting.parity import Embed
from finetuner.models import Embeddings, Encoder, Side
from finetuner.models.transformer import TransformerModule

FILE = "model.onnx"
INPUT = "input"
OUTPUTS: dict[Side, str] = {"document": "embeddings", "query": "query_embeddings"}
LARGE = 2**30
"""Bytes of weights above which they get a file of their own: an ONNX file holds no more than twice that."""


class _Graph(nn.Module):
    """An encoder with each of its inputs by itself, and an output for each side that differs."""

    def __init__(self, encoder: Encoder, names: list[str]) -> None:
        super().__init__()
        self._encoder = encoder
        self._names = names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        module = self._encoder.module
        if isinstance(module, TransformerModule):  # without packing, which counts tokens
            vectors = module.model(dict(zip(self._names, inputs, strict=True)))["sentence_embedding"]
        else:
            vectors = module(*inputs)
        return tuple(self._encoder.finish(vectors, side) for side in sides_of(self._encoder))


def sides_of(encoder: Encoder) -> list[Side]:
    """Return the sides whose embeddings differ, documents first."""
    return ["document", "query"] if encoder.heads.tell_sides_apart else ["document"]


def write(encoder: Encoder, folder: Path, sample: Contents) -> None:
    """Write an encoder into a new folder: ``model.onnx``, and beside it what its tokenizer needs.

    Inputs are ``input_ids``, ``attention_mask`` and what else the tokenizer makes, int64 (N, T); of an encoder of arrays
    ``input`` (N, ...). N and T may be anything, the rest of a shape is that of the sample. The output is ``embeddings``,
    float32 (N, D); where a head is for queries alone that is for documents, and ``query_embeddings`` is for queries.

    Args:
        encoder: The encoder, on the CPU.
        folder: Where to.
        sample: Contents that it takes.

    Raises:
        OptionError: If the packages are not installed.
        EncoderError: If it does what ONNX cannot tell.
    """
    if any(isinstance(one, nn.RNNBase) for one in encoder.module.modules()):
        raise EncoderError(
            f"encoder {encoder.spec.name!r} goes through sequences step by step, packed by length, which does not "
            "become an ONNX file; export it as safetensors"
        )
    _packages()
    features = encoder.prepare(_two(sample))
    inputs = {INPUT: features} if isinstance(features, Tensor) else features
    if encoder.kind == "text" and not (
        isinstance(encoder.module, TransformerModule) and inputs.keys() >= {"input_ids", "attention_mask"}
    ):
        raise EncoderError(
            f"encoder {encoder.spec.name!r} reads texts in a way of its own, which does not become an ONNX file; "
            "encoders of arrays do, and those of sentence-transformers folders with a tokenizer"
        )
    folder.mkdir(parents=True)
    if isinstance(encoder.module, TransformerModule):
        encoder.module.model.tokenizer.save_pretrained(str(folder))
    _export(encoder, inputs, folder / FILE)


def _export(encoder: Encoder, inputs: dict[str, Tensor], path: Path) -> None:
    names = list(inputs)
    axes: dict[int, Any] = {0: torch.export.Dim("batch")}
    if isinstance(encoder.module, TransformerModule):
        axes[1] = torch.export.Dim("length", max=encoder.module.model.max_seq_length)
    size = sum(one.numel() * one.element_size() for one in encoder.state_dict().values())
    graph = _Graph(encoder, names).eval()
    try:
        with _quiet():
            torch.onnx.export(
                graph,
                tuple(inputs.values()),
                path,
                input_names=names,
                output_names=[OUTPUTS[side] for side in sides_of(encoder)],
                dynamic_shapes=(tuple(axes for _ in names),),
                external_data=size > LARGE,
                verbose=False,
                dynamo=True,
            )
    except torch.onnx.OnnxExporterError as error:
        told = str(error).strip().splitlines()
        raise EncoderError(
            f"encoder {encoder.spec.name!r} does not become an ONNX file: {told[0]} ... {told[-1]}"
        ) from error


def use(encoder: Encoder, sample: Contents) -> str:
    """Return lines of Python that embed with an exported folder."""
    session = f'session = onnxruntime.InferenceSession("path/to/this/folder/{FILE}")'
    if isinstance(sample, np.ndarray):
        dtype = "float32" if encoder.takes_floats else sample.dtype
        shape = ", ".join(map(str, ("N", *sample.shape[1:])))
        lines = ["# pip install onnxruntime", "import onnxruntime", "", session]
        lines += [f'inputs = {{"{INPUT}": contents}}  # {dtype} ({shape})']
    else:
        lines = ["# pip install onnxruntime transformers", "import onnxruntime"]
        lines += ["from transformers import AutoTokenizer", "", session]
        lines += ['tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")']
        lines += ['inputs = dict(tokenizer(["a text"], padding=True, truncation=True, return_tensors="np"))']
    lines += [f'{OUTPUTS[side]} = session.run(["{OUTPUTS[side]}"], inputs)[0]' for side in sides_of(encoder)]
    return "\n".join(lines) + "\n"


def reader(folder: Path) -> Embed:
    """Return what embeds with an exported folder, as somebody would who has onnxruntime and the tokenizer.

    Raises:
        EncoderError: If onnxruntime cannot run it; also from what is returned.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with _refusing():
        session = onnxruntime.InferenceSession(str(folder / FILE), options, ["CPUExecutionProvider"])
    types = {one.name: one.type for one in session.get_inputs()}
    outputs = {one.name for one in session.get_outputs()}
    tokenizer: Any = None
    if INPUT not in types:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)

    def embed(contents: Contents, side: Side) -> Embeddings:
        if tokenizer is None:
            inputs = {INPUT: np.asarray(contents, np.float32 if types[INPUT] == "tensor(float)" else None)}
        else:
            made = tokenizer(list(contents), padding=True, truncation=True, return_tensors="np")
            inputs = {name: made[name].astype(np.int64) for name in types}
        wanted = OUTPUTS[side] if OUTPUTS[side] in outputs else OUTPUTS["document"]
        with _refusing():
            return cast(Embeddings, session.run([wanted], inputs)[0])

    return embed


@contextmanager
def _refusing() -> Iterator[None]:
    """Raise what onnxruntime says of a file as an EncoderError."""
    from onnxruntime.capi.onnxruntime_pybind11_state import (
        Fail,
        InvalidArgument,
        InvalidGraph,
        NotImplemented,
    )

    try:
        yield
    except (Fail, InvalidArgument, InvalidGraph, NotImplemented) as error:
        raise EncoderError(f"onnxruntime cannot run what was exported: {error}") from error


def _two(sample: Contents) -> Contents:
    """Return two contents: from a batch of one, a size of 1 would be read as a rule."""
    return np.concatenate([sample, sample])[:2] if isinstance(sample, np.ndarray) else [*sample, *sample][:2]


def _packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise OptionError(f"format 'onnx' needs: pip install 'finetuner[onnx]' ({error})") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter says of itself from those who cannot change it."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
