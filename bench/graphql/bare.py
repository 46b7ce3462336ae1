"""Serves the pages of REST for comparison, each by a minimal route that uses only Starlette and asyncpg.

A request sends the same SQL as the product: BEGIN with the statement that binds the principal, the query of the page,
the row for the disclosure log, and COMMIT. `python -m bench.graphql.bare PORT DISTRICT` reads the settings of the
product.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import uvicorn
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.access.audit import INSERT
from app.access.permission import GRANTABLE
from app.access.principal import Principal, client_principal
from app.access.work import unit
from app.core.clock import now
from app.core.db import open_engine
from app.core.ids import new_id
from app.resources.compile.explain import explaining
from app.resources.compile.tokens import render
from app.rest.derived.explain import run_path
from app.rest.resources import router
from app.settings import Settings

PAGES = {"students": "student", "concerns": "concern", "supports": "support"}
"""The pages, with the kind of record that the disclosure log names."""
CONNECTIONS = 10


def _log_row(principal: Principal, page: str, text: str) -> list[Any]:
    """Returns the values of a row of the disclosure log, except its id and time."""
    students = sorted(render(text.encode()).students)
    return [principal.client_id, None, principal.name, f"GET /v1/{page}", students, [PAGES[page]]]


class Bare:
    """The statements of the pages, and the connections to the database."""

    def __init__(self, settings: Settings, district_id: UUID) -> None:
        self._settings = settings
        self._principal = client_principal(district_id, new_id(), "bench", frozenset(can.value for can in GRANTABLE))
        self._begin = f"BEGIN; {self._principal.binding()}"
        self._connections: asyncio.LifoQueue[asyncpg.Connection] = asyncio.LifoQueue()
        self._pages: dict[str, tuple[str, tuple[Any, ...], list[Any]]] = {}

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Opens the connections and prepares the statements."""
        engine = open_engine(self._settings.url_of("api"), name="bench bare")
        options = {"jit": "off", "application_name": "bench bare api"}
        for _number in range(CONNECTIONS):
            connection = await asyncpg.connect(
                self._settings.url_of("api"), server_settings=options, max_cacheable_statement_size=0
            )
            self._connections.put_nowait(connection)
        for page in PAGES:
            await self._learn(engine, page)
        await engine.dispose()
        yield

    async def _learn(self, engine: AsyncEngine, page: str) -> None:
        async with unit(engine, self._principal, self._settings.keyring, "bench") as work:
            with explaining() as explanations:
                await run_path(router, work, f"/v1/{page}?limit=50")
        sql, parameters = explanations[-1].sql, explanations[-1].parameters
        connection = await self._connections.get()
        await connection.execute(self._begin)
        text = await connection.fetchval(sql, *parameters)
        await connection.execute("ROLLBACK")
        self._connections.put_nowait(connection)
        self._pages[page] = sql, parameters, _log_row(self._principal, page, text)

    async def answer(self, _: Request, page: str) -> Response:
        """Answers with the JSON text that PostgreSQL returns."""
        sql, parameters, logged = self._pages[page]
        connection = await self._connections.get()
        await connection.execute(self._begin)
        text = await connection.fetchval(sql, *parameters)
        await connection.fetch(INSERT, self._principal.district_id, new_id(), now(), *logged)
        await connection.execute("COMMIT")
        self._connections.put_nowait(connection)
        return Response(text, media_type="application/json")


def main() -> None:
    """Serves the routes."""
    bare = Bare(Settings(), UUID(sys.argv[2]))
    routes = [Route(f"/v1/{page}", partial(bare.answer, page=page)) for page in PAGES]
    app = Starlette(routes=routes, lifespan=bare.lifespan)
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
