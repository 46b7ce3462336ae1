"""Provides an app with GraphQL only, an access token for a district, and a function to send operations."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.admission import Admission
from app.access.authenticate import Tokens
from app.access.directory import Grant, KnownClient
from app.core.address import PUBLIC_ONLY, Allowed
from app.core.crypto import Keyring
from app.core.fairness.gate import Gate
from app.core.fairness.gate import Limits as GateLimits
from app.core.fairness.quota import Policy
from app.core.ids import new_id
from app.core.writer_share import WriterShare
from app.events.hub import FeedHub
from app.graphql.router import graphql_router
from app.requests.origins import Origins
from app.settings import Settings
from tests.faces.direct import BASE_URL, DirectTransport
from tests.town import ALL_SCOPES, Town

MODERN = "application/graphql-response+json"


@dataclass(frozen=True)
class Here:
    """The engine and the settings with which the GraphQL API runs in a test."""

    engine: AsyncEngine
    keyring: Keyring
    tokens: Tokens
    hub: FeedHub
    admission: Admission
    origins: Origins
    writers: WriterShare = field(default_factory=lambda: WriterShare(20, 5))
    base_url: str = "http://aimline.test"
    webhook_allowed: Allowed = PUBLIC_ONLY
    sis_allowed: Allowed = PUBLIC_ONLY


def here(engine: AsyncEngine, settings: Settings) -> Here:
    """Returns the engine and the settings with which the GraphQL API runs in a test."""
    issuer, most = tokens(settings), Policy("test", 1_000_000, 60)
    admission = Admission(issuer, Gate(GateLimits(4, 4, 8)), most, most)
    return Here(engine, settings.keyring, issuer, FeedHub(engine), admission, Origins(engine))


def tokens(settings: Settings) -> Tokens:
    """Returns the object that issues tokens, as in the product."""
    return Tokens(settings.keyring, settings.base_url, 900)


def token(town: Town, scopes: frozenset[str] = ALL_SCOPES) -> str:
    """Returns an access token of a client of this district."""
    grant = Grant(town.district_id, town.slug, scopes, ())
    client = KnownClient(new_id(), "test client", (), (grant,))
    return tokens(town.settings).issue(client, grant, tuple(sorted(scopes))).token


@asynccontextmanager
async def http(engine: AsyncEngine, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Returns an HTTP client of the API."""
    app = FastAPI()
    app.include_router(graphql_router(here(engine, settings)))
    async with httpx.AsyncClient(transport=DirectTransport(app), base_url=BASE_URL) as client:
        yield client


async def ask(
    town: Town,
    query: str,
    variables: dict[str, Any] | None = None,
    *,
    scopes: frozenset[str] = ALL_SCOPES,
    act_for: str | None = None,
) -> httpx.Response:
    """Sends one operation as a client of the district, and returns the answer."""
    headers = {"Authorization": f"Bearer {token(town, scopes)}", "Accept": MODERN}
    if act_for is not None:
        headers["Aimline-Act-For"] = act_for
    async with http(town.engine, town.settings) as client:
        return await client.post("/graphql", json={"query": query, "variables": variables}, headers=headers)


async def query_data(town: Town, query: str, variables: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Returns the data of an operation, which must have no error."""
    answer = (await ask(town, query, variables, **more)).json()
    assert "errors" not in answer, answer["errors"]
    data: dict[str, Any] = answer["data"]
    return data
