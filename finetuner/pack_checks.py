"""What a pack from outside has to keep to before anything relies on it."""

from dataclasses import replace

import numpy as np

from finetuner.documents import LARGEST, Array, canonical, id_of
from finetuner.errors import ContentError, LabelError, StreamError
from finetuner.packs import Pack


def checked(pack: Pack) -> Pack:
    """Return a pack with its arrays in their canonical form.

    Raises:
        ContentError: If its columns do not fit together, or a content is missing, empty or not finite.
        LabelError: If a label or weight is not finite, or a weight is not above 0.
    """
    for name in pack.ids:
        id_of(name)
    _check_columns(pack)
    _check_judgements(pack)
    for number, text in enumerate(pack.texts or ()):
        if not text:
            raise ContentError(f"document {pack.ids[number]!r} has no .text, which others in its pack have")
    return pack if pack.blobs is None else replace(pack, blobs=_blobs(pack, pack.blobs))


def check_follows(pack: Pack, rows: int) -> None:
    """Raise StreamError if a pack does not begin where the packs before it have ended, or anew."""
    if pack.start not in (0, rows):
        raise StreamError(
            f"a pack begins at row {pack.start}, and {rows} documents came before it; a pack is missing, or came twice"
        )


def _check_columns(pack: Pack) -> None:
    rows = pack.start + len(pack.ids)
    counts = np.diff(pack.offsets)
    lengths = {"matches": len(pack.matches), "labels": len(pack.labels)}
    lengths |= {} if pack.weights is None else {"weights": len(pack.weights)}
    lengths |= {} if pack.match_tags is None else {"match_tags": len(pack.match_tags)}
    faults = [
        (pack.start < 0, f"start is {pack.start}"),
        (pack.offsets.shape != (len(pack.anchors) + 1,), "offsets are not one more than anchors"),
        (len(counts) and (pack.offsets[0] != 0 or counts.min() < 0), "offsets do not ascend from 0"),
        (any(one != pack.offsets[-1:].sum() for one in lengths.values()), f"lengths are {lengths}"),
        (
            pack.anchor_tags is not None and len(pack.anchor_tags or ()) != len(pack.anchors),
            "anchor_tags do not fit",
        ),
        (
            any(len(one) and not 0 <= one.min() <= one.max() < rows for one in (pack.anchors, pack.matches)),
            "a row is out of range",
        ),
        (pack.carried > len(pack.ids), f"{pack.carried} contents for {len(pack.ids)} ids"),
        (len(set(pack.ids)) != len(pack.ids), "an id comes twice"),
        (pack.texts is not None and len(pack.texts) != pack.carried, "texts and blobs differ in number"),
    ]
    for is_fault, what in faults:
        if is_fault:
            raise ContentError(f"a pack of {len(pack.ids)} documents and {len(pack.anchors)} anchors: {what}")


def _check_judgements(pack: Pack) -> None:
    unfit = np.abs(pack.labels) > LARGEST  # NaN stands for no label
    if unfit.any():
        at = int(np.argmax(unfit))
        raise LabelError(
            f"match {at} of a pack: label {pack.labels[at]} is not a finite number; NaN is no label"
        )
    if pack.weights is not None and not ((pack.weights > 0) & (pack.weights <= LARGEST)).all():
        at = int(np.argmin((pack.weights > 0) & (pack.weights <= LARGEST)))
        raise LabelError(f"match {at} of a pack: weight {pack.weights[at]} is not a finite number above 0")


def _blobs(pack: Pack, blobs: Array) -> Array:
    if blobs.ndim < 2 or not len(blobs):
        raise ContentError(
            f"a pack of {len(pack.ids)} documents: blobs have shape {blobs.shape}; give (L, ...)"
        )
    floating = np.issubdtype(blobs.dtype, np.floating)
    fit = (
        np.isfinite(blobs).reshape(len(blobs), -1).all(axis=1) if floating else np.ones(len(blobs), np.bool_)
    )
    return canonical(blobs, pack.ids[int(np.argmin(fit))])
