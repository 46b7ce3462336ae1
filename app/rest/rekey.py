"""Owns the route by which a map from old to new sourcedIds is asked for in REST: shapes and a route, no rule."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import InitErrorDetails, PydanticCustomError, PydanticKnownError

from app.core.errors import MOST_VIOLATIONS
from app.rest.door import Opened, asks, row_id
from app.rest.pages import Input
from app.rest.route import Route
from app.rest.sis import SyncRun, asked_for
from app.sis.runs import pull, queries
from app.sis.runs.rekey import MOST_GIVEN

LONGEST = 1000
PART = 200
"""Pairs that are validated at once: a map that is wrong throughout is not validated to its end."""


class MapRoute(Route):
    """A route whose body may hold a map of the most pairs."""

    most_values = 4 * MOST_GIVEN


router = APIRouter(prefix="/v1", tags=["sync"], route_class=MapRoute)


class RekeyPair(Input):
    """One person: the sourcedId of before, and the one under which the held run would bring the same person anew."""

    old: str = Field(min_length=1, max_length=LONGEST)
    new: str = Field(min_length=1, max_length=LONGEST)


def _in_parts(pairs: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Validates a long map part by part, and stops after the part that fills the answer with violations."""
    if not isinstance(pairs, list) or len(pairs) <= PART:
        return validate(pairs)
    if len(pairs) > MOST_GIVEN:
        context = {"field_type": "List", "max_length": MOST_GIVEN, "actual_length": len(pairs)}
        raise PydanticKnownError("too_long", context)
    validated: list[Any] = []
    errors: list[InitErrorDetails] = []
    for begin in range(0, len(pairs), PART):
        try:
            validated += validate(pairs[begin : begin + PART])
        except ValidationError as error:
            for one in error.errors(include_url=False, include_context=False):
                index, *rest = one["loc"]
                cause = PydanticCustomError(one["type"], one["msg"])
                errors.append(InitErrorDetails(type=cause, loc=(begin + int(index), *rest), input=one["input"]))
        if len(errors) > MOST_VIOLATIONS:
            break
    if errors:
        raise ValidationError.from_exception_data("map", errors)
    return validated


Pairs = Annotated[list[RekeyPair], WrapValidator(_in_parts), Field(min_length=1, max_length=MOST_GIVEN)]


class NewRekey(Input):
    """How those who would go are told to be those who would come: `match` or `map`, one of both."""

    match: Literal["identifier", "email"] | None = Field(
        default=None, description="What exactly one who would go and one who would come have, and nobody who stays."
    )
    map: Annotated[list[RekeyPair], WrapValidator(_in_parts), Field(min_length=1, max_length=MOST_GIVEN)] | None = (
        Field(
            default=None,
            description="Who is who. Of its pairs those that fit the held run count; an id stands in it once a side.",
        )
    )


@router.post(
    "/sync-runs/{run}/rekey", status_code=202, operation_id="rekey_sync_run", **asks(pull.request_rekey, queries.run)
)
async def rekey_sync_run(work: Opened, response: Response, run: str, body: NewRekey) -> SyncRun:
    """Asks for a map of new sourcedIds for the people of a held run; the worker plans it as a run of its own.

    That run is held: its report counts who matched, and approving its plan has the map applied. 409 where the run is
    not held, or while another run of its source waits.
    """
    pairs = None if body.map is None else [(one.old, one.new) for one in body.map]
    return await asked_for(work, response, await pull.request_rekey(work, row_id("run", run), body.match, pairs))
