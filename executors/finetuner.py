"""FinetunerExecutor: tunes an encoder on match data and serves its embeddings meanwhile."""

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from executors.client import FlowClient
from executors.endpoints.automatic import AutomaticStarter
from executors.endpoints.encoding import EncodingEndpoints
from executors.endpoints.judging import JudgingEndpoints
from executors.endpoints.reembedding import ReembeddingEndpoints
from executors.endpoints.runs import RunEndpoints
from executors.endpoints.shadow import ShadowEndpoints
from executors.endpoints.versions import VersionEndpoints
from executors.parameters import refuse_unknown
from finetuner.service import TuningService
from finetuner.service_settings import ServiceSettings


class FinetunerExecutor(
    EncodingEndpoints, RunEndpoints, JudgingEndpoints, VersionEndpoints, ShadowEndpoints, ReembeddingEndpoints
):
    """Tunes, registers, promotes and serves the versions of one encoder.

    Args:
        match_data: Address of the data Executor, such as ``grpc://127.0.0.1:51010``; needed for collections.
        encoder: See :class:`finetuner.service_settings.ServiceSettings`, as for the next three.
        encoder_options: Arguments of its factory.
        seed: Draws the weights of a new base.
        batch_size: Contents in one forward pass at most.
        keep_runs: Of how many failed and cancelled runs is kept what /resume needs.
        feature_cache_bytes: What frozen encoders made, kept on disk at most.
        registry: Where versions are: a folder, or a URL such as ``s3://bucket/prefix``.
        keep_versions: How many of the newest are kept in any case.
        keep_warm: How many stay loaded, of those that served last.
        guards: Collections of the data Executor that no run may make worse.
        tune: When a run starts by itself, see :class:`finetuner.continual.settings.AutomaticRuns`; by default never.
        kwargs: Jina's own.
    """

    def __init__(
        self,
        match_data: str | None = None,
        encoder: str | None = None,
        encoder_options: dict[str, Any] | None = None,
        seed: int | None = None,
        batch_size: int | None = None,
        keep_runs: int | None = None,
        feature_cache_bytes: int | None = None,
        registry: str | None = None,
        keep_versions: int | None = None,
        keep_warm: int | None = None,
        guards: list[str] | None = None,
        tune: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        refuse_unknown(self, kwargs)
        super().__init__(**kwargs)
        settings = ServiceSettings.from_operator(
            match_data=match_data,
            encoder=encoder,
            encoder_options=encoder_options,
            seed=seed,
            batch_size=batch_size,
            keep_runs=keep_runs,
            feature_cache_bytes=feature_cache_bytes,
            registry=registry,
            keep_versions=keep_versions,
            keep_warm=keep_warm,
            guards=guards,
            tune=tune,
        )
        folder = settings.workspace / "finetuner" if settings.workspace else Path(self.workspace)
        self._match_data = settings.match_data
        self._service = TuningService(folder, settings)
        # forward passes queue up for one thread: torch uses the cores by itself
        self._forward = ThreadPoolExecutor(1, thread_name_prefix="forward")
        self._pulls: set[asyncio.Task[None]] = set()
        self._automatic: AutomaticStarter | None = None
        if settings.tune is not None:
            client = FlowClient(str(settings.match_data))
            self._automatic = AutomaticStarter(self, self._service.tuning, client, settings.tune)
            self._automatic.start()
        # what was imported is never let go, and a full collection that walks through it stops serving for 0.1 s
        gc.collect()
        gc.freeze()

    def close(self) -> None:
        """Stop the run that is training, if any; it goes on at the next start."""
        if self._automatic is not None:
            self._automatic.close()
        self._service.close()
        self._forward.shutdown(cancel_futures=True)
