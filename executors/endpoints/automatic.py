"""Runs that start by themselves: asks the data Executor for what is new, and starts a run when it is enough."""

import logging
import threading
import time
from typing import Any

import grpc
from jina.excepts import BaseJinaException

from executors.client import FlowClient
from executors.endpoints.starting import FitOptions, RunStarter
from finetuner.continual.due import News, due, run_name
from finetuner.continual.settings import AutomaticRuns
from finetuner.continual.since import Since
from finetuner.errors import FinetunerError, OptionError
from finetuner.service.tuning import Tuning
from finetuner.training.run_folder import FINAL, RunFolder

_log = logging.getLogger(__name__)

_FAILURES = (FinetunerError, OSError, BaseJinaException, grpc.RpcError)
"""What may be over when it is tried again; anything else is told with its trace."""


class AutomaticStarter:
    """Looks in a thread of its own for what is new, as long as the service is the one that trains.

    Args:
        starter: Creates runs, and gives them their data.
        tuning: The runs.
        client: Of the data Executor.
        settings: When a run starts, and how it trains.
    """

    def __init__(
        self, starter: RunStarter, tuning: Tuning, client: FlowClient, settings: AutomaticRuns
    ) -> None:
        self._starter = starter
        self._tuning = tuning
        self._client = client
        self._settings = settings
        self._started: RunFolder | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="automatic runs", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def close(self) -> None:
        """Start no further run."""
        self._closing.set()
        self._thread.join(timeout=2)  # what is being pulled ends with the process

    def _work(self) -> None:
        told = ""
        while not self._closing.wait(self._settings.poll_seconds):
            try:
                self.look()
                told = ""
            except Exception as error:  # noqa: BLE001  a fault of one night must not end all later runs
                said = str(error) or type(error).__name__
                if said != told:  # not each time
                    trace = None if isinstance(error, _FAILURES) else error
                    _log.warning("automatic runs: %s; it is tried again", said, exc_info=trace)
                told = said

    def look(self) -> None:
        """Start a run if one is due."""
        self._tell_end()
        if not self._tuning.trains:
            return
        last = self._tuning.last_automatic(self._settings.collection)
        news = self._news(0 if last is None else last.position)
        decided = due(self._settings, last, news, now=time.time())
        if decided.is_due:
            _log.info("automatic run at position %d: %s", news.position, decided.why)
            self._start(news.position)

    def _news(self, since: int) -> News:
        collection = self._settings.collection
        told = self._client.post("/news", collection=collection, since=since)[0].tags
        if told["position"] < since:  # it was deleted, and fed anew
            told = self._client.post("/news", collection=collection, since=0)[0].tags
        return News(int(told["position"]), int(told["new_judgements"]))

    def _start(self, position: int) -> None:
        collection = self._settings.collection
        asked: dict[str, Any] = {
            **self._settings.options.dict(exclude={"since"}),
            "collection": collection,
            "emit": {"position": position},  # which the name tells
            "run": run_name(collection, position),
            "since": None if self._since_active() is None else "active",
        }
        options = FitOptions(**asked)
        run, new, since = self._starter.create_run(options)
        if new:
            self._started = run
            self._starter.pull_and_start(run, options, since, or_all=True)

    def _since_active(self) -> Since | None:
        """Return what the active version learnt from; None if that is not the collection."""
        try:
            since = self._tuning.since("active", self._settings.collection)
        except OptionError:
            return None
        return since if since.position else None

    def _tell_end(self) -> None:
        run = self._started
        if run is None or run.state() not in FINAL:
            return
        self._started = None
        told = run.summary()
        how = _log.info if told["state"] == "succeeded" else _log.warning
        how("automatic run %s: %s: %s", run.id, told["state"], told.get("reason", ""))
