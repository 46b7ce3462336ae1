"""Tests the REST API with requests that schemathesis generates from the contract. No response may have a status of 500.

Every run generates the same requests.
"""

import string
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, openapi, serializer
from schemathesis.core import NOT_SET

from tests.faces.rest_town import caller
from tests.house.walk import Operation, operations
from tests.house.walk_knows import OPEN
from tests.town import Town

pytestmark = pytest.mark.long

EXAMPLES = 8
ZIP = "application/zip"
serializer.alias(ZIP, "application/octet-stream")  # bytes, of which it knows by another name only


def cases(contract: Any, operation: Operation) -> list[Any]:
    """Generates requests of one operation that the contract accepts."""
    made: list[Any] = []
    described = contract[operation.path][operation.method]

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(described.as_strategy(generation_mode=GenerationMode.POSITIVE))
    def collect(case: Any) -> None:
        made.append(case)

    collect()
    return made


async def test_no_request_that_is_made_up_is_a_fault(app: FastAPI, north: Town) -> None:
    """No generated request gives a status of 500 or above."""
    contract, asks = openapi.from_dict(app.openapi()), caller(app, north)
    sent = 0
    for operation in operations(app):
        if operation.name in OPEN:
            continue
        for case in cases(contract, operation):
            path = operation.path
            for name, value in (case.path_parameters or {}).items():
                path = path.replace(f"{{{name}}}", quote(str(value), safe="") or "-")
            more: dict[str, Any] = {"params": _texts(case.query)}
            headers = _printable(case.headers)
            if case.media_type == ZIP:
                more["content"], headers["Content-Type"] = getattr(case.body, "data", b""), ZIP
            elif case.body is not NOT_SET:
                more["content" if isinstance(case.body, bytes) else "json"] = case.body
            try:
                answer = await asks.ask(operation.method, path, headers=headers, **more)
            except (UnicodeEncodeError, ValueError, TypeError):
                continue  # what no HTTP client can put on the wire
            assert answer.status_code < 500, (operation.name, path, more, answer.text)
            sent += 1
    assert sent > 100


def _texts(query: Any) -> dict[str, Any]:
    return {str(name): value if isinstance(value, list) else str(value) for name, value in (query or {}).items()}


def _printable(headers: Any) -> dict[str, str]:
    printable = {str(name): str(value) for name, value in (headers or {}).items()}
    return {
        name: value
        for name, value in printable.items()
        if value and name.lower() != "authorization" and all(one in string.printable[:95] for one in value)
    }
