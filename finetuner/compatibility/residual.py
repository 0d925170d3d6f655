"""A small network beside a linear map, trained until the old documents rank as the new ones would."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from finetuner.compatibility.maps import Layers
from finetuner.compatibility.stamped import Embeddings
from finetuner.matches import Rows

_HIDDEN = 64  # width of the network
_QUERIES = 256  # in a step
_DOCUMENTS = 2048  # in a step, at most
_STEPS = 400
_RATE = 1e-3
_SHARPNESS = 0.05  # temperature at which neighbours count in the new space


class Residual(nn.Module):
    """A linear map, and a network that starts at zero, as in :class:`finetuner.compatibility.maps.Layers`.

    Args:
        linear: Where the linear map starts, float32 (D1, D0).
        scale: Where the scale of cosines in the old space starts, above 0.
        random: Draws the first weights.
    """

    def __init__(self, linear: Embeddings, scale: float, random: np.random.Generator) -> None:
        super().__init__()
        width, dim = linear.shape
        first = random.normal(scale=width**-0.5, size=(width, _HIDDEN)).astype(np.float32)
        self.linear = nn.Parameter(torch.from_numpy(linear.copy()))
        self.inner = nn.Parameter(torch.from_numpy(first))
        self.bias = nn.Parameter(torch.zeros(_HIDDEN))
        self.outer = nn.Parameter(torch.zeros(_HIDDEN, dim))
        self.log_scale = nn.Parameter(torch.tensor(float(np.log(scale))))

    def forward(self, queries: Tensor, documents: Tensor) -> Tensor:
        """Return how near documents are to mapped queries: scaled cosines, (Q, N)."""
        made = queries @ self.linear + torch.relu(queries @ self.inner + self.bias) @ self.outer
        return functional.normalize(made, dim=1) @ documents.T * self.log_scale.exp()

    def weights(self) -> tuple[Embeddings, Layers]:
        """Return a copy of the linear map and of the network."""
        linear, *layers = (
            one.detach().numpy().copy() for one in (self.linear, self.inner, self.bias, self.outer)
        )
        return linear, Layers(*layers)


def train(old: Embeddings, new: Embeddings, linear: Embeddings, *, seed: int) -> tuple[Embeddings, Layers]:
    """Return a linear map and a network beside it.

    Contents ask for each other, but not for themselves, and what is learnt is how near they are to each other in the new
    space: the loss is the cross-entropy of the softmax over cosines of mapped contents with old documents, and that over
    cosines of new contents with new documents.

    Args:
        old: float32 (N, D0).
        new: Of the same contents, float32 (N, D1).
        linear: Where the linear map starts, float32 (D1, D0).
        seed: Decides first weights and batches.
    """
    random = np.random.default_rng(seed)
    targets, asked = torch.from_numpy(np.ascontiguousarray(new)), torch.from_numpy(np.ascontiguousarray(old))
    model = Residual(linear, _first_scale(old, new, linear, random), random)
    optimiser = torch.optim.Adam(model.parameters(), lr=_RATE)
    for _ in range(_STEPS):
        documents = torch.from_numpy(_some(random, len(new), _DOCUMENTS))
        queries = documents[torch.from_numpy(_some(random, len(documents), _QUERIES))]
        itself = queries[:, None] == documents
        near = (targets[queries] @ targets[documents].T / _SHARPNESS).masked_fill(itself, -torch.inf)
        found = model(targets[queries], asked[documents]).masked_fill(itself, -torch.inf)
        told = functional.log_softmax(found, dim=1).masked_fill(itself, 0)  # 0 x -inf would be no number
        loss = -(near.softmax(dim=1) * told).sum(dim=1).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # so in torch
        optimiser.step()
    return model.weights()


def _some(random: np.random.Generator, count: int, most: int) -> Rows:
    return random.permutation(count)[:most]


def _first_scale(old: Embeddings, new: Embeddings, linear: Embeddings, random: np.random.Generator) -> float:
    """Return by what cosines with old documents have to be multiplied to spread as those with new ones do."""
    some = _some(random, len(new), _QUERIES)
    made = new[some] @ linear
    made /= np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12)
    spread, wanted = (made @ old[some].T).std(), (new[some] @ new[some].T).std()
    return float(wanted / max(float(spread), 1e-6)) / _SHARPNESS + 1e-6
