"""Serves the REST route that finds the people that a held run would remove and create again.

A held run is a sync whose changes wait for approval. If the SIS has given a person a new sourcedId, the run seems to
remove one person and to create another. The request contains a map from old to new sourcedIds, or says how to find such
people.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import InitErrorDetails, PydanticCustomError, PydanticKnownError

from app.core.errors import MAX_VIOLATIONS
from app.rest.door import OpenWork, requires, row_id
from app.rest.pages import Input, Shape
from app.rest.route import Route
from app.rest.sis import RUN, accepted_run
from app.sis.runs import pull, queries
from app.sis.runs.rekey import MAX_GIVEN

MAX_REKEY_LENGTH = 1000
PART = 200
"""The number of pairs that are validated at a time, so that the validation of an entirely wrong map stops early."""


class MapRoute(Route):
    """A route that accepts a larger body than other routes, because the body may contain a long map of sourcedIds."""

    most_values = 4 * MAX_GIVEN


router = APIRouter(prefix="/v1", tags=["sync"], route_class=MapRoute)


class RekeyPair(Input):
    """One person of a map: the sourcedId that the roster has (`old`), and the one that the SIS uses (`new`)."""

    old: str = Field(min_length=1, max_length=MAX_REKEY_LENGTH)
    new: str = Field(min_length=1, max_length=MAX_REKEY_LENGTH)


def _validate_in_parts(pairs: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Returns a validated map.

    A long map is validated in parts. If a part brings the number of violations above the limit, the rest is not
    validated.
    """
    if not isinstance(pairs, list) or len(pairs) <= PART:
        return validate(pairs)
    if len(pairs) > MAX_GIVEN:
        context = {"field_type": "List", "max_length": MAX_GIVEN, "actual_length": len(pairs)}
        raise PydanticKnownError("too_long", context)
    validated: list[Any] = []
    errors: list[InitErrorDetails] = []
    for begin in range(0, len(pairs), PART):
        try:
            validated += validate(pairs[begin : begin + PART])
        except ValidationError as error:
            for violation in error.errors(include_url=False):
                index, *path = violation["loc"]
                cause = PydanticCustomError(violation["type"], violation["msg"], violation.get("ctx"))
                errors.append(InitErrorDetails(type=cause, loc=(begin + int(index), *path), input=violation["input"]))
        if len(errors) > MAX_VIOLATIONS:
            break
    if errors:
        raise ValidationError.from_exception_data("map", errors)
    return validated


Pairs = Annotated[list[RekeyPair], WrapValidator(_validate_in_parts), Field(min_length=1, max_length=MAX_GIVEN)]


class NewRekey(Input):
    """Says how to find the people who have a new sourcedId: by a common value (`match`), or by a list of pairs (`map`).

    The run waits for approval. It would remove such a person under the old sourcedId, and create the same person under
    the new one.
    """

    match: Literal["identifier", "email", "likely"] | None = Field(
        default=None,
        description=(
            "The field whose value a removed and a created person share with nobody else; or `likely`, for the "
            "pairs in the report's `rekeys`, also of an applied run that set them aside."
        ),
    )
    map: (
        Annotated[list[RekeyPair], WrapValidator(_validate_in_parts), Field(min_length=1, max_length=MAX_GIVEN)] | None
    ) = Field(
        default=None,
        description=(
            "Pairs of old and new sourcedIds. Pairs that do not fit the held run are ignored; an id may occur"
            " once on each side."
        ),
    )


@router.post(
    "/sync-runs/{run}/rekey",
    status_code=202,
    operation_id="rekey_sync_run",
    response_model=RUN,
    **requires(pull.request_rekey, queries.run),
)
async def rekey_sync_run(work: OpenWork, response: Response, run: str, body: NewRekey) -> Shape:
    """Finds the people that a held run would remove and create again, because they have a new sourcedId in the SIS.

    A held run is a sync that waits for approval. A worker plans the change of the sourcedIds as a separate run, which
    waits for approval too. Its report counts the matches, and approving its plan applies the new ids. 409 if the given
    run does not wait for approval, or while another run of its source is pending.
    """
    pairs = None if body.map is None else [(pair.old, pair.new) for pair in body.map]
    return await accepted_run(work, response, await pull.request_rekey(work, row_id("run", run), body.match, pairs))
