"""Provides the product's own app over ASGI, and a client with an access token for a district."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from app.access.directory import Grant, KnownClient
from app.access.permission import GRANTABLE
from app.main import build
from app.rest.door import Services
from app.settings import Settings
from tests.faces.direct import BASE_URL, DirectTransport, send
from tests.faces.documented import check_documented, committed_contract
from tests.town import Town

CLIENT_SCOPES = frozenset(can.value for can in GRANTABLE) | {"area:sel"}
"""Everything that a client can be granted."""


@pytest.fixture(scope="session")
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """Yields the app as the product builds it, once for the test run."""
    built = build(settings)
    yield built
    await built.state.services.engine.dispose()


@dataclass
class Caller:
    """A client with one token; `act_for` names the person for whom it acts."""

    app: FastAPI
    token: str
    act_for: str | None = None

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Sends a request and returns the answer. An error of the app gives a 500 and is not raised here."""
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        if self.act_for is not None:
            headers["Aimline-Act-For"] = self.act_for
        answer = await send(self.app, method, path, headers, **more)
        committed_contract().check(answer)
        return answer

    async def get(self, path: str, **params: Any) -> httpx.Response:
        """Reads a path, and returns the answer."""
        return await self.ask("GET", path, params=params)

    async def post(self, path: str, body: Any) -> httpx.Response:
        """Sends a command, and returns the answer."""
        return await self.ask("POST", path, json=body)

    async def patch(self, path: str, changes: Any, if_match: str = "*") -> httpx.Response:
        """Changes some fields of a row. By default, the change applies to any version of the row."""
        return await self.ask("PATCH", path, json=changes, headers={"If-Match": if_match})

    async def items(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """Returns all items of a list, read page by page."""
        rows: list[dict[str, Any]] = []
        while True:
            answer = await self.get(path, **params)
            assert answer.status_code == 200, answer.text
            rows += answer.json()["items"]
            if answer.json().get("next") is None:
                return rows
            params["after"] = answer.json()["next"]


def plain(app: FastAPI) -> httpx.AsyncClient:
    """Returns a client without a token. Every answer that it receives must be in the contract of the app."""
    hooks = {"response": [check_documented]}
    return httpx.AsyncClient(transport=DirectTransport(app), base_url=BASE_URL, event_hooks=hooks)


def caller(
    app: FastAPI,
    town: Town,
    scopes: frozenset[str] = CLIENT_SCOPES,
    *,
    schools: tuple[UUID, ...] = (),
    act_for: str | None = None,
) -> Caller:
    """Returns a client of this district with these scopes, by default all."""
    services: Services = app.state.services
    grant = Grant(town.district_id, town.slug, scopes, schools)
    known_client = KnownClient(town.client_id, "test client", (), (grant,))
    return Caller(app, services.tokens.issue(known_client, grant, tuple(sorted(scopes))).token, act_for)
