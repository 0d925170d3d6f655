"""How time and memory grow with a collection: 1,000,000 judgements over 100,000 texts, and a tenth of both.

Judgements come from a Parquet file, are stored, linted, split and emitted, each size in processes of its own, in turns.
If ten times the judgements take ten times as long, the ratio of time is 1; if memory does not grow, its ratio is 1.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from numpy.typing import NDArray

from finetuner.doors import Roles, open_door
from finetuner.emission import Emitter
from finetuner.importing import bring_in
from finetuner.lint import lint
from finetuner.splits import SIDES, sides
from finetuner.store import MatchStore

COLLECTION = "products"
LARGE = 20_000  # anchors
SMALL = LARGE // 10
MATCHES = 50  # of each anchor
PRODUCTS = 4  # texts beside each anchor's own
ROUNDS = 3
ALL = "all"  # the steps together
WORDS = (
    "Alder Birch Cedar Dune Ember Fjord Grove Harbor Iris Juniper Kestrel Larch Maple Nordic Orchard Prairie",
    "foldable insulated compact wireless padded reversible waterproof adjustable stackable quilted slim",
    "cotton steel bamboo leather glass nylon ceramic oak wool silicone",
    "backpack kettle lamp blanket keyboard jacket bottle chair drill notebook pillow tent camera mug",
    "black white navy olive coral grey teal sand",
)
ROLES = Roles(anchor="query", anchor_id="query_id", match="product", match_id="product_id", label="label")

ResultT = TypeVar("ResultT")


@dataclass
class Figures:
    """What one process measured, by step: seconds, those on a core, and the peak of resident memory in MB."""

    seconds: dict[str, float] = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure what is done inside."""
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew at what is resident now
        started, busy = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] = time.perf_counter() - started
        self.busy[name] = time.process_time() - busy
        self.peaks[name] = peak_mb()

    def sum_up(self) -> None:
        """Add what all steps together took, and the highest of their peaks."""
        for one in (self.seconds, self.busy):
            one[ALL] = sum(one.values())
        self.peaks[ALL] = max(self.peaks.values())


@dataclass(frozen=True)
class Pair:
    """The figures of one round: of the small size, and of ten times that."""

    small: Figures
    large: Figures

    def time_ratio(self, step: str, what: Literal["seconds", "busy"] = "seconds") -> float:
        """How much longer a judgement takes at ten times the size; ``busy``: on a core, whatever else is running."""
        small: float = getattr(self.small, what)[step]
        large: float = getattr(self.large, what)[step]
        return large / (10 * small)

    def memory_ratio(self, without: float = 0) -> float:
        """How much higher the peak is at ten times the size; ``without`` so many MB of both."""
        return (self.large.peaks[ALL] - without) / (self.small.peaks[ALL] - without)


def main() -> None:
    """Write the files, measure both sizes, and print the figures."""
    imported = alone(peak_mb)
    with tempfile.TemporaryDirectory() as name:
        grouped = {size: written(Path(name, f"{size}.parquet"), size) for size in (SMALL, LARGE)}
        rounds = [measured_pair(grouped, large_first=bool(number % 2)) for number in range(ROUNDS)]
        random = {size: shuffled(path) for size, path in grouped.items()}
        shuffle = measured_pair(random, large_first=False)
    print_table("rows by anchor", rounds, imported)
    print_table("rows in random order", [shuffle], imported)
    print(json.dumps(summary(rounds, shuffle, imported)))


def alone(function: Callable[[], ResultT]) -> ResultT:
    """Return what a function returns in a new process, which has imported the library and pyarrow."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function).result()


def peak_mb() -> float:
    """Return the peak of this process's resident memory, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measured_pair(files: dict[int, Path], *, large_first: bool) -> Pair:
    """Measure both sizes one after the other."""
    order = (LARGE, SMALL) if large_first else (SMALL, LARGE)
    found = {size: alone(partial(measured, files[size], size)) for size in order}
    return Pair(found[SMALL], found[LARGE])


def measured(path: Path, size: int) -> Figures:
    """Bring a file in, lint it, split it and emit it."""
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:
        store = MatchStore(f"sqlite:///{Path(folder, 'matches.db')}")
        with figures.step("feed"):
            door = open_door(path, ROLES)
            fed = bring_in(door, lambda pack: store.feed(COLLECTION, [pack], refuse=True))
        with figures.step("lint"):
            counts = lint(store.packs(COLLECTION)).counts
        with figures.step("split"):
            anchors = [
                sum(len(pack.anchors) for pack in store.packs(COLLECTION, chosen=partial(is_on, side)))
                for side in range(len(SIDES))
            ]
        with figures.step("emit"):
            emitted = sum(len(pack.matches) for pack, _ in Emitter(store).packs({"collection": COLLECTION}))
        store.close()
    figures.sum_up()
    texts, judgements = size * (1 + PRODUCTS), size * MATCHES
    found = (fed.contents, fed.accepted, counts.documents, counts.judgements, sum(anchors), emitted)
    expected = (texts, judgements, texts, judgements, size, judgements)
    if found != expected:
        raise SystemExit(f"{path}: {found} came out, and {expected} had to")
    return figures


def is_on(side: int, hashes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which anchors are on a side of the split, by their contents' hashes, uint8 (A, 16)."""
    return sides(hashes, validation=0.1, holdout=0.1, seed=0) == side


def written(path: Path, size: int) -> Path:
    """Write the judgements of ``size`` anchors, anchor by anchor; every product occurs, none twice with an anchor."""
    random = np.random.default_rng(size)
    texts = pa.array(list(product_texts(size * (1 + PRODUCTS), random)))
    products, judgements = size * PRODUCTS, size * MATCHES
    deals = (random.permutation(products) for _ in range(-(-judgements // products)))
    dealt = np.concatenate(list(deals))[:judgements]
    anchors = np.repeat(np.arange(size), MATCHES)
    columns = {
        "query_id": pa.array([f"q{row}" for row in range(size)]).take(anchors),
        "query": texts.take(anchors),
        "product_id": pa.array([f"p{row}" for row in range(products)]).take(dealt),
        "product": texts.take(dealt + size),
        "label": np.where(random.random(judgements) < 0.6, 1.0, -1.0),
    }
    pq.write_table(pa.table(columns), path)
    return path


def shuffled(path: Path) -> Path:
    """Write the rows of a file in random order."""
    table = pq.read_table(path)
    other = path.with_suffix(".shuffled.parquet")
    pq.write_table(table.take(np.random.default_rng(0).permutation(len(table))), other)
    return other


def product_texts(count: int, random: np.random.Generator) -> Iterator[str]:
    """Yield different titles as a shop has them, of about 60 characters."""
    lists = [words.split() for words in WORDS]
    picks = np.stack([random.integers(0, len(words), count) for words in lists], axis=1)
    for number, (row, pieces) in enumerate(zip(picks, random.integers(1, 13, count), strict=True)):
        brand, look, stuff, thing, colour = (words[pick] for words, pick in zip(lists, row, strict=True))
        yield f"{brand} {look} {stuff} {thing}, {colour}, pack of {pieces}, model {number:06d}"


def print_table(title: str, rounds: list[Pair], imported: float) -> None:
    """Print the median of each step; memory is that beyond a process that only imports."""
    print(f"{title}, {len(rounds)} round(s); a process that only imports the library takes {imported:.0f} MB")
    print(f"{'step':<8}{'s at 1x':>10}{'s at 10x':>10}{'time ratio':>12}{'+MB at 1x':>11}{'+MB at 10x':>12}")
    for name, told in steps(rounds, imported).items():
        (small, large), (small_mb, large_mb) = told["seconds"], told["beyond_import_mb"]
        ratio = told["time_ratio_10x"]
        print(f"{name:<8}{small:>10.2f}{large:>10.2f}{ratio:>12.2f}{small_mb:>11.0f}{large_mb:>12.0f}")
    print()


def steps(rounds: list[Pair], imported: float) -> dict[str, dict[str, Any]]:
    """Return the medians of each step, at the small and at the large size."""
    told = {}
    for name in rounds[0].small.seconds:
        small, large = both(rounds, "seconds", name)
        told[name] = {
            "seconds": [round(small, 3), round(large, 3)],
            "time_ratio_10x": round(statistics.median(pair.time_ratio(name) for pair in rounds), 3),
            "beyond_import_mb": [round(peak - imported, 1) for peak in both(rounds, "peaks", name)],
        }
    return told


def both(rounds: list[Pair], what: str, step: str) -> tuple[float, float]:
    """Return the median of a figure at the small size, and at the large one."""
    small = statistics.median(getattr(pair.small, what)[step] for pair in rounds)
    return small, statistics.median(getattr(pair.large, what)[step] for pair in rounds)


def summary(rounds: list[Pair], shuffle: Pair, imported: float) -> dict[str, Any]:
    """Return the figures of the last line."""
    told, told_shuffled = steps(rounds, imported), steps([shuffle], imported)
    judgements = LARGE * MATCHES
    return {
        "benchmark": "store_scale",
        **spread("time_ratio_10x", [pair.time_ratio(ALL) for pair in rounds]),
        **spread("core_time_ratio_10x", [pair.time_ratio(ALL, "busy") for pair in rounds]),
        **spread("memory_ratio_10x", [pair.memory_ratio() for pair in rounds]),
        **spread("memory_beyond_import_ratio_10x", [pair.memory_ratio(imported) for pair in rounds]),
        "judgements_per_second": round(judgements / told["feed"]["seconds"][1]),
        "import_mb": round(imported, 1),
        "steps": told,
        "random_order": {
            "time_ratio_10x": round(shuffle.time_ratio(ALL), 3),
            "core_time_ratio_10x": round(shuffle.time_ratio(ALL, "busy"), 3),
            "memory_ratio_10x": round(shuffle.memory_ratio(), 3),
            "memory_beyond_import_ratio_10x": round(shuffle.memory_ratio(imported), 3),
            "judgements_per_second": round(judgements / told_shuffled["feed"]["seconds"][1]),
            "steps": told_shuffled,
        },
    }


def spread(name: str, ratios: list[float]) -> dict[str, float | list[float]]:
    """Return the median of the rounds' ratios, and the lowest and the highest."""
    median, extremes = statistics.median(ratios), (min(ratios), max(ratios))
    return {name: round(median, 3), f"{name}_min_max": [round(one, 3) for one in extremes]}


if __name__ == "__main__":
    main()
