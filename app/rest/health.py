"""Owns what a supervisor asks: is the process alive, can it serve. Shows nothing of any district."""

from fastapi import APIRouter, Request, Response

from app.access.directory import ready
from app.rest.door import House
from app.rest.pages import Shape

router = APIRouter(prefix="/health", tags=["health"])


class Health(Shape):
    """Whether it can."""

    ok: bool


@router.get("/live", operation_id="live")
async def live() -> Health:
    """The process answers."""
    return Health(ok=True)


@router.get("/ready", operation_id="ready", responses={503: {"model": Health, "description": "No database."}})
async def ready_to_serve(request: Request, response: Response) -> Health:
    """The database answers under our schema."""
    house: House = request.app.state.house
    try:
        ok = await ready(house.engine)
    except Exception:  # whatever keeps the database away makes us not ready
        ok = False
    if not ok:
        response.status_code = 503
    return Health(ok=ok)
