"""Builds apps with limits that differ from those of other tests, and gives access to the queue of waiting requests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.main import build
from app.rest.admission import Admit
from app.settings import Settings
from tests.faces.graphql_face import MODERN
from tests.faces.rest_town import Caller

AREAS = {"query": "{ areas { code } }"}
Built = Callable[..., AbstractAsyncContextManager[FastAPI]]


@pytest.fixture
def built(settings: Settings) -> Built:
    """Builds the product's app with other settings."""

    @asynccontextmanager
    async def make(**more: Any) -> AsyncIterator[FastAPI]:
        app = build(settings.model_copy(update=more))
        yield app
        await app.state.services.engine.dispose()

    return make


async def graphql(client: Caller) -> httpx.Response:
    """Sends a GraphQL query, and returns the answer."""
    return await client.ask("POST", "/graphql", json=AREAS, headers={"Accept": MODERN})


def gate_of(app: FastAPI) -> Any:
    (admit,) = [one for one in app.user_middleware if getattr(one, "cls", None) is Admit]
    admission: Any = admit.kwargs["admission"]
    return admission.gate


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110  # no event reports the condition
            await asyncio.sleep(0)
