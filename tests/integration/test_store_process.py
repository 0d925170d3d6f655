"""A store whose process is killed."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from finetuner.store import MatchStore
from tests.unit.test_store import asked, judged, labels_in

CHILD = """
import sys
from finetuner.documents import Document
from finetuner.store import MatchStore, portions

def fed(i):
    matches = [Document(f"{i}-{j}", tags={"finetuner": {"label": 1}}, id=f"{i}-{j}") for j in range(5)]
    return Document(str(i), matches=matches, id=str(i))

def hanging():
    for i in range(1000, 1010):
        yield fed(i)
    print("half", flush=True)
    sys.stdin.read()

portions.PORTION_DOCUMENTS = 10
store = MatchStore(sys.argv[1])
for i in range(int(sys.argv[2])):
    store.feed("c", [fed(i)])
    print(i, flush=True)
store.feed("c", hanging())
"""


@pytest.mark.parametrize(("feeds", "kill_at"), [(3, "half"), (1000, "4")])
def test_a_killed_feeder_leaves_what_was_acknowledged_and_nothing_half(
    tmp_path: Path, feeds: int, kill_at: str
) -> None:
    """After kill -9, in the middle of a feed or at any moment, all acknowledged feeds are whole, others not there."""
    url = f"sqlite:///{tmp_path / 'matches.db'}"
    command = [sys.executable, "-c", CHILD, url, str(feeds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        acknowledged = []
        for line in child.stdout:
            acknowledged.append(line.strip())
            if line.strip() == kill_at:
                break
        os.kill(child.pid, signal.SIGKILL)
        acknowledged += child.stdout.read().split()
    with closing(MatchStore(url)) as store:
        labels = labels_in(store)
        stored = [anchor.id for anchor in store.documents("c")]
        whole = [name for name in acknowledged if name != "half"]
        # the next feed may have been stored without the word of it having come out
        assert stored in (whole, [*whole, str(len(whole))])
        assert {(name, f"{name}-{j}"): 1.0 for name in stored for j in range(5)} == labels
        assert store.feed("c", [asked("new", *(judged(f"n{j}", 1) for j in range(5)))]).accepted == 5
