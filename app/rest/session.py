"""Serves sessions and dosage in REST."""

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from app.core import ids
from app.rest.door import OpenWork, requires, row_id
from app.rest.pages import Shape
from app.rest.resources import SHAPES
from app.rest.route import Route
from app.rest.values import Day
from app.support import dosage as doses
from app.support import queries
from app.support.delivery import SessionResource

router = APIRouter(prefix="/v1", tags=["sessions"], route_class=Route)
SESSION = SHAPES.of(SessionResource)
Reason = Literal["absent", "no_provider", "schedule", "event", "school_closed", "other"]
Outcome = Literal["recorded", "amended", "unchanged", "refused"]
Since = Annotated[Day | None, Query(description="The first day, included.")]
Until = Annotated[Day | None, Query(description="The last day, included.")]


class Sums(Shape):
    """Sums of sessions and minutes.

    `known_minutes` is the sum of the planned minutes of the sessions that have a record. `checked_sessions` is the
    number of delivered sessions for which the checklist of the library's entry was filled in.
    """

    planned_sessions: int
    delivered_sessions: int
    unknown_sessions: int
    planned_minutes: int
    known_minutes: int
    delivered_minutes: int
    checked_sessions: int


class DosageWeek(Sums):
    """The dosage of one week, identified by its Monday."""

    monday: date


class Dosage(Sums):
    """Delivered and planned sessions and minutes.

    The shares count only sessions that have a record. If fewer than half of the planned sessions have one, the dosage
    is unknown and the shares are null.
    """

    support: str
    since: date
    until: date
    share: float | None = Field(description="The lesser of the two shares.")
    session_share: float | None
    minute_share: float | None
    adherence: float | None = Field(
        description="The share of the checklist's parts that was done in checked sessions; null if none was checked."
    )
    lost: dict[str, int] = Field(description="Minutes lost, by reason.")
    weeks: list[DosageWeek]


@router.get("/supports/{support}/dosage", operation_id="get_dosage", **requires(queries.dosage_between))
async def get_dosage(work: OpenWork, support: str, since: Since = None, until: Until = None) -> Dosage:
    """Returns how much of a support was delivered in a period.

    By default, the period is the support's last phase, up to today or to the end of the phase, whichever is earlier.
    """
    support_id = row_id("support", support)
    dosage = await queries.dosage_between(work, support_id, since, until)
    totals = {name: getattr(dosage, name) for name in Dosage.model_fields if name not in ("support", "weeks", "lost")}
    weeks = [
        DosageWeek.model_construct(**{name: getattr(week, name) for name in doses.DosageWeek.__slots__})
        for week in dosage.weeks
    ]
    return Dosage.model_construct(
        support=ids.format_id("support", support_id), lost=dict(dosage.lost), weeks=weeks, **totals
    )
