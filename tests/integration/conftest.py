"""One Flow for all tests that do not break it."""

import json
from collections.abc import Iterator

import pytest

from demo.flow import RunningFlow, running_flow
from executors.client import FlowClient
from tests.integration.asking import tune, wired
from tests.two_classes import SPEC, match_documents

TINY = {"FINETUNER_ENCODER_OPTIONS": json.dumps(SPEC.options)}
"""Settings for contents of six numbers, on which a run takes a moment."""


@pytest.fixture(scope="session")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFlow]:
    """A Flow with a small encoder."""
    with running_flow(tmp_path_factory.mktemp("flow"), free_ports=True, environment=TINY) as running:
        yield running


@pytest.fixture(scope="session")
def client(flow: RunningFlow) -> FlowClient:
    """A client of that Flow."""
    return flow.client


@pytest.fixture(scope="session")
def two(client: FlowClient) -> str:
    """The name of a collection to learn from."""
    client.post("/feed", wired(match_documents()), collection="two")
    return "two"


@pytest.fixture(scope="session")
def tuned(client: FlowClient, two: str) -> str:
    """The name of a version that is not the base."""
    return str(tune(client, collection=two, promote="never")["version"])
