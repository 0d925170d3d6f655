"""A BERT that reads several short texts in one row of tokens, where a row of its own for each would be mostly padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

FEATURES = {"input_ids", "attention_mask", "token_type_ids"}
"""What a tokenizer may say of the tokens of a text."""

GAIN = 0.9
"""Packed rows are read if they are at most so much of the work: the packing takes time, too."""


@dataclass(frozen=True)
class Rows:
    """Where texts lie in rows.

    Attributes:
        starts: The first place of each text, counted over all rows from the first on.
        count: How many rows there are.
        length: Tokens in a row.
    """

    starts: list[int]
    count: int
    length: int


def lay_out(lengths: Sequence[int], row: int) -> Rows:
    """Return where texts lie: from the longest on, each in the first row that has room for it.

    Args:
        lengths: Tokens of each text, at least 1.
        row: Tokens in a row, at least those of the longest text.
    """
    used: list[int] = []
    starts = [0] * len(lengths)
    for text in sorted(range(len(lengths)), key=lambda one: -lengths[one]):
        place = next((at for at, taken in enumerate(used) if taken + lengths[text] <= row), len(used))
        if place == len(used):
            used.append(0)
        starts[text] = place * row + used[place]
        used[place] += lengths[text]
    return Rows(starts, len(used), row)


def work(rows: int, length: int, width: int) -> int:
    """Return what it takes to read rows, in some unit.

    The matrices of a layer multiply each of its tokens 12 ``width`` squared times, and attention 2 ``width`` times the
    length; a multiplication of attention takes about twice as long, since its matrices are small.
    """
    return rows * length * (3 * width + length)


class PackedBert:
    """Reads the texts of a batch as a sentence-transformers module around a BERT does, several in one row.

    Each token sees those of its own text only and is told its position in it, so what is made of it is what would be
    made of it if its text had a row of its own, up to rounding. What follows the BERT gets the tokens as ever.

    Args:
        bert: The BERT, see :func:`can_pack`.
    """

    def __init__(self, bert: nn.Module) -> None:
        self._bert: Any = bert  # untyped

    def plan(self, features: dict[str, Tensor]) -> Rows | None:
        """Return where the texts would lie, None if they had better be read as they are.

        Args:
            features: Of N texts, padded to T tokens: each int64 (N, T).
        """
        if features.keys() - FEATURES or torch.compiler.is_compiling():  # no graph depends on the lengths
            return None
        lengths = features["attention_mask"].sum(1).tolist()
        if not lengths or min(lengths) < 1:
            return None
        width = self._bert.config.hidden_size
        rows = min(
            (lay_out(lengths, times * max(lengths)) for times in (1, 2)),
            key=lambda one: work(one.count, one.length, width),
        )
        apart = work(len(lengths), features["attention_mask"].shape[1], width)
        return rows if work(rows.count, rows.length, width) <= GAIN * apart else None

    def token_embeddings(self, features: dict[str, Tensor], rows: Rows) -> Tensor:
        """Return what it makes of each token, float (N, T, D); of padding 0.

        Args:
            features: Of N texts, padded to T tokens: each int64 (N, T).
            rows: Where they lie, see :meth:`plan`.
        """
        mask = features["attention_mask"].bool()
        texts, positions = mask.nonzero(as_tuple=True)  # (tokens,)
        starts = torch.tensor(rows.starts, device=mask.device)
        places = starts[texts] + mask.cumsum(1)[mask] - 1
        shape = (rows.count, rows.length)

        def packed(values: Tensor, elsewhere: int) -> Tensor:
            return values.new_full(shape, elsewhere).flatten().index_copy(0, places, values).view(shape)

        given = {name: packed(features[name][mask], 0) for name in features if name != "attention_mask"}
        whose = packed(texts, -1)  # padding sees padding: attention of a token that sees nothing is undefined
        unseen = (whose[:, None, :, None] != whose[:, None, None, :]).to(self._bert.dtype)  # (R, 1, L, L)
        made: Tensor = self._bert(
            **given,
            position_ids=packed(positions, 0),
            attention_mask=unseen * torch.finfo(self._bert.dtype).min,
            return_dict=True,
        ).last_hidden_state
        tokens = made.flatten(0, 1).index_select(0, places)
        apart = tokens.new_zeros(mask.numel(), tokens.shape[1])
        return apart.index_copy(0, texts * mask.shape[1] + positions, tokens).view(*mask.shape, -1)


def can_pack(first: nn.Module) -> bool:
    """Return whether the first module of a sentence-transformers model is a BERT whose rows may hold several texts."""
    from sentence_transformers.sentence_transformer.modules import Transformer

    if type(first) is not Transformer:
        return False
    module: Any = first  # untyped
    config = module.auto_model.config
    return bool(
        config.model_type == "bert"
        and not config.is_decoder
        and not config.output_hidden_states
        and config.chunk_size_feed_forward == 0
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
        and config._attn_implementation in ("sdpa", "eager")
        and module.module_output_name == "token_embeddings"
        and module.modality_config.get("text")
        == {"method": "forward", "method_output_name": "last_hidden_state"}
    )
