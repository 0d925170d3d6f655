"""Tune the seed's MLP on Fashion-MNIST match Documents, through a Flow, and look at the difference.

Run by ``make demo``. The Flow is a process of its own; this is the gRPC client beside it.
"""

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from docarray import DocList
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tqdm import tqdm

from demo.flow import RunningFlow, running_flow
from executors.client import FlowClient
from executors.documents import ContentDocument, MatchDocument, Report
from finetuner.evaluation import by_class
from finetuner.models import Embeddings

PICTURE = Path("demo.png")
SHOWN = ("hit@1", "map", "map@r")
Classes = NDArray[np.int64]


@dataclass(frozen=True)
class Figures:
    """What the demo measured.

    Attributes:
        metrics: hit@1, map and map@r of raw pixels, base and tuned, on the 1,000 test images.
        train_seconds: From the start of the training process to its last event.
        ready_seconds: From the start of ``jina flow`` until its gateway answered.
    """

    metrics: dict[str, dict[str, float]]
    train_seconds: float
    ready_seconds: float


def main(picture: Path | None = PICTURE) -> Figures:
    """Run the demo and return its figures."""
    print("starting: jina flow --uses flows/tune.yml")
    with tempfile.TemporaryDirectory() as workspace, running_flow(Path(workspace)) as flow:
        print(f"the Flow is ready after {flow.ready_seconds:.1f} s")
        figures = tune_and_compare(flow, picture)
        print(f"the Flow ended with exit code {flow.stop()}")
    return figures


def tune_and_compare(flow: RunningFlow, picture: Path | None) -> Figures:
    """Emit, encode, tune and encode again."""
    anchors = asyncio.run(first_anchors(flow.client, count=3))
    for anchor in anchors:
        labels = [match.tags["finetuner"]["label"] for match in anchor.matches]
        image = np.asarray(anchor.blob)
        print(
            f"emitted: {anchor.id}, {image.shape} {image.dtype}, {len(labels)} matches labelled {set(labels)}"
        )

    test = flow.client.post(
        "/matches", answer=MatchDocument, collection="fashion_mnist", is_testset=True, num_pos=0, num_neg=0
    )
    images = np.stack([document.blob for document in test])
    classes = np.array([document.tags["class"] for document in test])
    pixels = images.reshape(len(images), -1)
    pixels = pixels / np.linalg.norm(pixels, axis=1, keepdims=True)

    before, base_version = encode(flow.client, images)
    run = flow.client.post("/fit", collection="fashion_mnist")[0].id
    outcome, train_seconds = asyncio.run(follow(flow.client, run))
    print(
        f"run {run} made version {outcome['version']}, promoted: {outcome['promoted']} ({outcome['reason']})"
    )
    after, tuned_version = encode(flow.client, images)

    embeddings = {"raw pixels": pixels, f"base {base_version}": before, f"tuned {tuned_version}": after}
    metrics = {name: by_class(vectors, classes, ks=(1,)).mean() for name, vectors in embeddings.items()}
    print(f"\n{len(images)} test images, each a query against the others:")
    print(f"{'':<14}" + "".join(f"{name:>9}" for name in SHOWN))
    for name, row in metrics.items():
        print(f"{name:<14}" + "".join(f"{row[metric]:>9.3f}" for metric in SHOWN))
    if picture is not None:
        draw(picture, images, classes, before, after)
        print(f"\n{picture}: anchors with their five nearest, before and after")
    short = {name.split()[0]: {metric: row[metric] for metric in SHOWN} for name, row in metrics.items()}
    return Figures(short, train_seconds, flow.ready_seconds)


async def first_anchors(client: FlowClient, *, count: int) -> list[MatchDocument]:
    """Return the first match Documents that the data Executor emits."""
    return [
        document async for document in client.stream("/emit", collection="fashion_mnist", num_total=count)
    ]


def encode(client: FlowClient, images: NDArray[np.float32]) -> tuple[Embeddings, str]:
    """Return the embeddings of images, and the one version that made them."""
    documents = DocList[ContentDocument](ContentDocument(blob=image) for image in images)
    encoded = client.post("/encode", documents, answer=ContentDocument)
    (version,) = {document.tags["finetuner"]["model"] for document in encoded}
    return np.stack([document.embedding for document in encoded]), version


async def follow(client: FlowClient, run: str) -> tuple[dict[str, Any], float]:
    """Show a run's progress until it has ended; return its outcome and how long it trained."""
    started = ended = time.time()
    event: dict[str, Any] = {}
    with tqdm(desc="training", unit="epoch") as bar:
        async for report in client.stream("/progress", answer=Report, run=run):
            event = report.tags
            if event["event"] == "running":
                started = event["time"]
            elif event["event"] == "epoch":
                ended, bar.total = event["time"], event["epochs"]
                bar.set_postfix(loss=f"{event['loss']:.3f}", validation_map=f"{event['validation_map']:.3f}")
                bar.update()
    if event["event"] != "succeeded":
        raise SystemExit(f"the run {event['event']}: {event.get('reason', '')}")
    return event, ended - started


def draw(
    path: Path, images: NDArray[np.float32], classes: Classes, before: Embeddings, after: Embeddings
) -> None:
    """Save a picture: the first image of each class with its five nearest, before and after the tuning."""
    anchors = [int(np.flatnonzero(classes == label)[0]) for label in np.unique(classes)]
    figure = Figure(figsize=(10, 8.5))
    axes = figure.subplots(len(anchors), 12, gridspec_kw={"hspace": 0.12, "wspace": 0.08})
    for axis in axes.flat:
        axis.axis("off")
    for line, anchor in zip(axes, anchors, strict=True):
        _show(line[0], images[anchor], "black")
        for start, embeddings in ((1, before), (7, after)):
            for axis, row in zip(line[start : start + 5], nearest(embeddings)[anchor], strict=True):
                _show(axis, images[row], "tab:green" if classes[row] == classes[anchor] else "tab:red")
    for column, title in ((0, "anchor"), (3, "five nearest before"), (9, "five nearest after")):
        axes[0, column].set_title(title, fontsize=11)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def nearest(embeddings: Embeddings) -> NDArray[np.int64]:
    """Return the five nearest rows of each row, itself left out, (N, 5)."""
    distance = 1 - embeddings @ embeddings.T
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1)[:, :5]


def _show(axis: Any, image: NDArray[np.float32], colour: str) -> None:
    axis.imshow(image, cmap="gray_r")
    axis.axis("on")
    axis.set(xticks=[], yticks=[])
    for side in axis.spines.values():
        side.set(color=colour, linewidth=2)


if __name__ == "__main__":
    main()
