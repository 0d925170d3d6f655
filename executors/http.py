"""Typed errors over HTTP.

Jina answers every error of an Executor with status 500 and its ``repr``. Here an error of Finetuner is a
JSON object with its class and message, and its status says whose fault it is.
"""

import ast
import re
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

from executors.streams import kinds

_NOT_THE_CLIENTS = {
    "StreamError": 503,
    "DamagedVersionError": 500,
    "TrainingError": 500,
    "RegistryError": 503,
    "ReplicaError": 503,  # another replica can
}
_REPR = re.compile(r"(\w+)\((.*)\)", re.DOTALL)


def with_typed_errors(make_app: Callable[..., FastAPI]) -> Callable[..., FastAPI]:
    """Wrap what makes jina's HTTP application, so that its errors are typed."""

    def make(**options: Any) -> FastAPI:
        app = make_app(**options)
        app.add_exception_handler(HTTPException, _answer)
        return app

    return make


async def _answer(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    told = _REPR.fullmatch(str(error.detail))
    if told is None or told[1] not in kinds():
        return JSONResponse({"detail": error.detail}, error.status_code)
    status = 404 if told[1].startswith("Unknown") else _NOT_THE_CLIENTS.get(told[1], 400)
    return JSONResponse({"error": {"type": told[1], "message": ast.literal_eval(told[2])}}, status)
