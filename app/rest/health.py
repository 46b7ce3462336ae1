"""Answers health checks: whether the process is running, and whether it can serve requests.

The responses contain no data of any district.
"""

import asyncio

import structlog
from fastapi import APIRouter, Request, Response

from app.access.directory import schema_version
from app.core.fault_report import describe_fault
from app.core.schema import SchemaState, migrations, schema_state
from app.rest.door import Services
from app.rest.pages import Shape

router = APIRouter(prefix="/health", tags=["health"])
log = structlog.get_logger()
MAX_SECONDS = 5
"""The seconds within which the database must answer. The caller, such as a load balancer, waits about as long."""


class Health(Shape):
    """The response of a health check."""

    ok: bool


@router.get("/live", operation_id="live")
async def live() -> Health:
    """Returns the response of a process that is running."""
    return Health(ok=True)


@router.get(
    "/ready",
    operation_id="ready",
    responses={
        503: {
            "model": Health,
            "description": "The database does not answer, or its schema is behind this code. The log says which.",
        }
    },
)
async def ready_to_serve(request: Request, response: Response) -> Health:
    """Returns whether the database answers and its schema is not older than this code."""
    services: Services = request.app.state.services
    try:
        async with asyncio.timeout(MAX_SECONDS):
            version = await schema_version(services.engine)
    except Exception as error:  # every failure to reach the database means not ready
        log.warning("not_ready", reason="The database does not answer.", **describe_fault(error))
        response.status_code = 503
        return Health(ok=False)
    migration_ids = migrations()
    state = schema_state(version, migration_ids)
    if state is not SchemaState.CURRENT:
        reason = f"The schema is {state.value}."
        event = "not_ready" if state is SchemaState.BEHIND else "schema_ahead"
        log.warning(event, reason=reason, schema=version, code=migration_ids[-1])
    if state is SchemaState.BEHIND:
        response.status_code = 503
    return Health(ok=state is not SchemaState.BEHIND)
