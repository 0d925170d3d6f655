"""A content as a row of the database, and back."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from finetuner.documents import Array


def content_row(content: str | Array) -> dict[str, Any]:
    """Return a canonical content as columns."""
    if isinstance(content, str):
        return {"dtype": None, "shape": None, "data": content.encode("utf-8", "surrogatepass")}
    return {"dtype": content.dtype.str, "shape": json.dumps(content.shape), "data": content.tobytes()}


def form_of(blobs: Array | None) -> str | None:
    """Return how an array looks, such as ``float32 (28, 28)``."""
    return None if blobs is None else f"{blobs.dtype} {blobs.shape[1:]}"


def bytes_of(form: str) -> int:
    """Return how many bytes an array of that form has."""
    dtype, _, shape = form.partition(" ")
    return np.dtype(dtype).itemsize * math.prod(
        int(one) for one in shape.strip("()").split(",") if one.strip()
    )


def form_in_words(has_text: bool, blob: str | None) -> str:
    """Return what a document holds as a message names it."""
    parts = ([".text"] if has_text else []) + ([f".blob {blob}"] if blob is not None else [])
    return " and ".join(parts)


def blobs_from(dtype: str, shape: str, data: Sequence[bytes]) -> Array:
    """Return the arrays of some rows as one, (N, ...)."""
    return np.frombuffer(b"".join(data), dtype).reshape(len(data), *json.loads(shape))


def text_from(data: bytes) -> str:
    """Return the text of a row."""
    return data.decode("utf-8", "surrogatepass")
