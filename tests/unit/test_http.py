"""Errors over HTTP carry their class and message."""

import asyncio
import json
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException

from executors.http import with_typed_errors
from finetuner.errors import OptionError, StreamError, UnknownRunError


def answer_to(error: HTTPException) -> tuple[int, Any]:
    """Return status and body with which an application answers an error."""
    handler: Any = with_typed_errors(FastAPI)().exception_handlers[HTTPException]
    answer = asyncio.run(handler(None, error))
    return answer.status_code, json.loads(answer.body)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OptionError('it\'s "no" number\n'), 400),
        (UnknownRunError("no run 'x'"), 404),
        (StreamError("the data Executor is down"), 503),
    ],
)
def test_an_error_of_ours_has_its_class_and_status(error: Exception, status: int) -> None:
    """What jina passes on as the repr of an error arrives as its class and the very message."""
    told = {"error": {"type": type(error).__name__, "message": str(error)}}
    assert answer_to(HTTPException(500, repr(error))) == (status, told)


def test_any_other_error_stays_what_it_is() -> None:
    """A bug is not the client's: status and text are jina's."""
    assert answer_to(HTTPException(500, "KeyError('x')")) == (500, {"detail": "KeyError('x')"})
