"""An encoder as a sentence-transformers folder, which that library reads alone: heads become modules of its own."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from finetuner.contents import Contents
from finetuner.errors import EncoderError
from finetuner.exporting.baking import Dense, Layer, bake
from finetuner.exporting.parity import Embed
from finetuner.models import Embeddings, Encoder, Side
from finetuner.models.transformer import TransformerModule


def write(encoder: Encoder, folder: Path, sample: Contents) -> None:
    """Write an encoder into a new folder.

    Prompts of the folder that it was tuned from are left out, since it was tuned without them. Where a head is for
    queries alone, what follows is a Router: ``encode_query`` goes one way, ``encode_document`` and ``encode`` the other.

    Args:
        encoder: The encoder, on the CPU.
        folder: Where to.
        sample: Not needed here.

    Raises:
        EncoderError: If it is none of a sentence-transformers folder, or its heads cannot be told that way.
    """
    del sample
    if not isinstance(encoder.module, TransformerModule):
        raise EncoderError(
            f"encoder {encoder.spec.name!r} is none of a sentence-transformers folder, so it cannot become one; "
            "export it as onnx or safetensors"
        )
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Router

    modules = list(encoder.module.model)
    baked = bake(encoder.heads, of_length_1=isinstance(modules[-1], Normalize))
    modules += _modules(baked.both)
    if baked.query:
        routes = {"query": _modules(baked.query), "document": _modules(baked.document)}
        modules.append(Router(routes, default_route="document"))
    whole = SentenceTransformer(modules=modules, device="cpu", similarity_fn_name="cosine")
    whole.save_pretrained(str(folder), create_model_card=False)


def use(encoder: Encoder, sample: Contents) -> str:
    """Return lines of Python that embed with an exported folder."""
    del encoder, sample
    return (
        f"# pip install 'sentence-transformers>={version('sentence-transformers')}'\n"
        "from sentence_transformers import SentenceTransformer\n\n"
        'model = SentenceTransformer("path/to/this/folder")\n'
        'model.encode_query(["a question"])\n'
        'model.encode_document(["a text"])\n'
    )


def reader(folder: Path) -> Embed:
    """Return what embeds with an exported folder, as somebody would who has sentence-transformers alone."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(folder), device="cpu", local_files_only=True, model_kwargs={"use_safetensors": True}
    )

    def embed(contents: Contents, side: Side) -> Embeddings:
        encode = model.encode_query if side == "query" else model.encode_document
        made: Embeddings = encode(list(contents), show_progress_bar=False)
        return made

    return embed


def _modules(layers: Sequence[Layer]) -> list[Any]:
    from sentence_transformers.sentence_transformer import modules

    return [_dense(layer) if isinstance(layer, Dense) else modules.Normalize() for layer in layers]


def _dense(layer: Dense) -> Any:  # the library is untyped
    from sentence_transformers.sentence_transformer import modules

    out_features, in_features = layer.weight.shape
    return modules.Dense(
        in_features,
        out_features,
        activation_function=nn.ReLU() if layer.relu else nn.Identity(),
        init_weight=layer.weight,
        init_bias=layer.bias,
    )
