"""Builds the ASGI app from the settings: the database engine, the routers and the middleware."""

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI

from app.access.admission import Admission, TokenAttempts
from app.access.authenticate import Tokens
from app.core.db import check_server, connections_of, open_engine
from app.core.fairness.gate import Gate
from app.core.fairness.gate import Limits as GateLimits
from app.core.fairness.quota import Policy
from app.core.log import log_as_json
from app.core.writer_share import WriterShare
from app.events.hub import FeedHub
from app.graphql.limits import Limits
from app.graphql.router import RoutedFirst, graphql_router
from app.graphql.router import refuse as refuse_graphql
from app.requests.origins import Origins
from app.rest import (
    agenda,
    attention,
    calendar,
    chart,
    consumers,
    documents,
    events,
    evidence,
    group_chart,
    growth,
    health,
    library,
    me,
    oauth,
    planned,
    playbook,
    provision,
    quarantine,
    recap,
    rekey,
    resources,
    screening,
    session,
    sis,
    story,
    stream,
    uploads,
)
from app.rest.admission import Admit
from app.rest.compress import Compress
from app.rest.contract.assemble import complete_contract
from app.rest.cors import Cors
from app.rest.direct import DirectReads
from app.rest.door import Services
from app.rest.edge import Edge
from app.rest.problem import install_problem_handlers
from app.rest.retry import Retries
from app.settings import Settings

VERSION = "1.0.0"
DESCRIPTION = """\
Aimline supports the cycle that a school's teams follow for every student: raise concerns, give supports, check whether
the student responds, and decide what to do next.

Wherever the id of a roster row is accepted, `sis:<source>:<sourcedId>` is accepted as well. With `Aimline-Act-For`, a
request names the person that it acts for, and is limited by that person's role and caseload. Lists are paginated: pass
`next` back as `after`. Errors are problem details (RFC 9457) and list every violation at once.

The same is served as GraphQL at `/graphql`; [GraphiQL](graphiql) tries it in the browser.
"""
V1 = (
    me,
    provision,
    attention,
    resources,
    playbook,
    library,
    session,
    growth,
    agenda,
    recap,
    screening,
    chart,
    group_chart,
    evidence,
    story,
    events,
    stream,
    consumers,
    sis,
    uploads,
    planned,
    quarantine,
    rekey,
)


def build(settings: Settings) -> FastAPI:
    """Returns the app with these settings. Its engine connects to the database when the first request needs it."""
    limits = settings.timeouts
    engine = open_engine(settings.url_of("api"), name="api", pool_size=settings.pool_size, timeouts=limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        await check_server(settings.url_of("api"), "api")
        async with tokens.revocations.kept_current(engine):
            # The HTTP protocol class reads these, because it has access to neither the settings nor the app.
            yield {"base_url": settings.base_url, "stop": stop, "arrived": admission.gate.arrivals.note}
        await engine.dispose()

    def stop() -> None:
        services: Services = app.state.services
        services.hub.stop()
        services.admission.gate.stop()

    app = FastAPI(
        title="Aimline",
        version=VERSION,
        description=DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        lifespan=lifespan,
    )
    tokens = Tokens(settings.keyring, settings.base_url, settings.token_seconds)
    app.state.origins = origins = Origins(engine)
    admission = _admission(settings, tokens)
    app.state.services = Services(
        engine=engine,
        keyring=settings.keyring,
        tokens=tokens,
        base_url=settings.base_url,
        webhook_allowed=settings.webhook_allowed,
        sis_allowed=settings.sis_allowed,
        attempts=TokenAttempts(settings.workers),
        writers=WriterShare(connections_of(engine), limits.connect),
        hub=FeedHub(engine),
        admission=admission,
        origins=origins,
        operations=me.operations_of([face.router for face in V1]),
    )
    install_problem_handlers(app)
    complete_contract(app)
    app.webhooks.include_router(events.webhooks())
    _add_routes(app, health.router, oauth.router, calendar.router, *(face.router for face in V1))
    limits_of_graphql = Limits(cost=settings.graphql_cost, seconds=settings.graphql_seconds)
    graphql = graphql_router(app.state.services, limits_of_graphql)
    pages = documents.documents(app)
    _add_routes(app, graphql, pages)
    app.add_middleware(DirectReads, routes=tuple(app.routes))
    app.add_middleware(Retries)
    app.add_middleware(RoutedFirst, router=graphql)
    app.add_middleware(Compress)
    refusals = {"/graphql": refuse_graphql, "/oauth/token": oauth.refuse}
    preparations = documents.preparations(pages)
    app.add_middleware(Admit, admission=admission, refusals=refusals, preparations=preparations)
    app.add_middleware(Edge, largest_upload=settings.largest_upload_mb << 20)
    app.add_middleware(Cors, origins=origins, admission=admission)
    return app


def _add_routes(app: FastAPI, *routers: APIRouter) -> None:
    """Adds the routes of these routers to the app itself, without FastAPI's `include_router`.

    With `include_router`, FastAPI would build every route again for each app, and would compare each request with the
    routes twice. The comparison would take a third of a millisecond for each request, instead of a tenth.
    """
    for router in routers:
        app.router.routes.extend(router.routes)


def _admission(settings: Settings, tokens: Tokens) -> Admission:
    """Returns the object that decides when requests may run.

    It lets as many requests run at once as the processor can use, but at most one per database connection.
    """
    pool = 2 * settings.pool_size  # the pool may grow to twice its size
    limits = GateLimits(min(settings.concurrency, pool), most_of_one_key=max(1, pool // 2), most=pool)
    return Admission(
        tokens,
        Gate(limits, dict(settings.weights.items())),
        Policy("district", settings.district_requests, 60),
        Policy("client", settings.client_requests, 60),
        settings.workers,
    )


def create() -> FastAPI:
    """Returns the app with the settings of the environment, and configures logging. Each server process calls this."""
    log_as_json()
    logging.getLogger("uvicorn.access").disabled = True
    app = build(Settings())
    # Everything loaded so far is needed until the end. Without freezing it, each full garbage collection would scan all
    # of it and delay every request of the process by 150 to 200 ms.
    gc.collect()
    gc.freeze()
    return app
