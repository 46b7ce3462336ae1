"""Serves the calendar that a calendar link opens, as iCalendar, without an OAuth token.

The secret is in the path, because a calendar program is given nothing but an address. The secret appears in no log,
metric or trace, because these record the route instead of the path.
"""

from hashlib import sha256
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from app.access.work import unit
from app.calendar.feed import open_link, read_calendar
from app.calendar.ics import render_calendar
from app.core.errors import Forbidden, NotFound
from app.core.log import add_to_log_context
from app.rest.door import Services, refusal
from app.rest.headers import ETAG
from app.rest.route import Route
from app.rest.versions import READS, is_known

router = APIRouter(tags=["meetings"], route_class=Route)
ICS = "text/calendar"
HEADERS = {
    "Cache-Control": "private, no-cache",
    "Content-Disposition": 'attachment; filename="meetings.ics"',
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@router.get(
    "/calendar/{secret}.ics",
    operation_id="get_calendar",
    response_class=Response,
    openapi_extra={"parameters": [READS]},
    responses={
        200: {
            "description": "An iCalendar object (RFC 5545).",
            "content": {ICS: {"schema": {"type": "string"}}},
            "headers": ETAG,
        },
        304: {"description": "Nothing has changed: If-None-Match has the present ETag."},
        400: refusal("A parameter that this address does not take."),
        404: refusal("No link in force has this secret."),
    },
)
async def get_calendar(
    request: Request,
    secret: Annotated[str, Path(description="The secret of a calendar link.")],
) -> Response:
    """Returns the meetings that a calendar link opens: those of the last 60 and the next 400 days.

    A calendar program subscribes to this address and needs no token.
    """
    services: Services = request.app.state.services
    link = await open_link(services.engine, services.keyring, secret)
    request.state.principal = link.principal
    add_to_log_context(**link.principal.log_names())
    try:
        async with unit(services.engine, link.principal, services.keyring, "calendar") as work:
            entries = await read_calendar(work, link.team_id)
    except Forbidden:
        # The client or the role of the person no longer has the permission.
        raise NotFound("calendar_link") from None
    body = render_calendar(entries)
    headers = HEADERS | {"ETag": f'"{sha256(body).hexdigest()[:32]}"'}
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=f"{ICS}; charset=utf-8", headers=headers)
