"""Owns how a REST request becomes a unit of work: token, principal, person acted for, transaction. Holds no rule."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import Depends, Header, Path, Query, Request, Security
from fastapi.dependencies.utils import get_flat_params
from fastapi.security import OAuth2
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.admission import TokenAttempts
from app.access.authenticate import Tokens
from app.access.permission import GRANTABLE, MEANING
from app.access.principal import Principal
from app.access.work import Work, required_permissions, unit
from app.core import ids
from app.core.address import Allowed
from app.core.crypto import Keyring
from app.core.errors import Invalid, Malformed, NotFound, Violation
from app.core.writer_share import WriterShare
from app.rest.pages import NUL
from app.rest.problem import MEDIA_TYPE, Problem
from app.roster.caseload import bound_to_person

oauth2 = OAuth2(
    flows={
        "clientCredentials": {
            "tokenUrl": "/oauth/token",
            "scopes": {can.value: MEANING[can] for can in sorted(GRANTABLE)},
        }
    },
    scheme_name="oauth2",
    description="Client credentials against our own token endpoint. A secured area has the scope area:<code>.",
    auto_error=False,
)
READS = frozenset({"GET", "HEAD"})
ACT_FOR = "Aimline-Act-For"


@dataclass(frozen=True)
class House:
    """What the faces run on."""

    engine: AsyncEngine
    keyring: Keyring
    tokens: Tokens
    base_url: str
    webhook_allowed: Allowed
    sis_allowed: Allowed
    attempts: TokenAttempts
    writers: WriterShare


async def refuse_unknown_parameters(request: Request) -> None:
    """A misspelt filter must not answer with everything: unknown query parameters are refused.

    So is the one character that PostgreSQL does not store, which no row can have.
    """
    route = request.scope["route"]
    known = {
        field.alias for field in get_flat_params(route.dependant) if field.field_info.__class__.__name__ == "Query"
    }
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        taken = ", ".join(sorted(known)) or "none"
        raise Malformed(
            [Violation(f"/{name}", "parameter.unknown", f"This takes the parameters: {taken}.") for name in unknown]
        )
    spoilt = [name for name, value in request.query_params.multi_items() if NUL in value]
    if spoilt:
        raise Malformed([Violation(f"/{name}", "parameter.nul", "A text has no NUL character.") for name in spoilt])


async def principal_of(
    request: Request,
    authorization: Annotated[str | None, Security(oauth2)],
    act_for: Annotated[
        str | None,
        Header(alias=ACT_FOR, description="The person that this request acts for: an id or an external id."),
    ] = None,
) -> Principal:
    """Who asks; raises `Unauthenticated`. With a person named, the person's role and caseload bind the client."""
    if (checked := getattr(request.state, "principal", None)) is not None:
        return cast(Principal, checked)  # the route has read the token already, before the body
    house: House = request.app.state.house
    client = house.tokens.read_header(authorization)
    if act_for is None:
        return client
    return await bound_to_person(house.engine, house.keyring, client, act_for)


async def open_work(request: Request, principal: Annotated[Principal, Depends(principal_of)]) -> AsyncIterator[Work]:
    """One request, one transaction; it commits before the response starts."""
    house: House = request.app.state.house
    operation = f"{request.method} {request.scope['route'].path}"
    async with house.writers.turn(writes=request.method not in READS):
        async with unit(house.engine, principal, house.keyring, operation) as work:
            yield work


Opened = Annotated[Work, Depends(open_work, scope="function")]
After = Annotated[str | None, Query(description="The cursor from `next` of the page before.")]
Limit = Annotated[int | None, Query(description="Rows a page, 1 to 200; 50 without it.")]


def asks(*functions: Callable[..., Any], gone: str | None = None, **more: Any) -> dict[str, Any]:
    """What a route tells of itself in the contract: the scopes that its functions need, the problems it answers."""
    scopes = sorted({can.value for function in functions for can in required_permissions(function)})
    answers = {**_ANSWERS, 410: gone} if gone else _ANSWERS
    told = {"model": Problem, "content": {MEDIA_TYPE: {}}}
    return {
        # A tuple takes the place of what FastAPI has written; a list would be added to it, as another way in.
        "openapi_extra": {"security": ({"oauth2": scopes},)},
        "responses": {status: {**told, "description": words} for status, words in answers.items()},
        **more,
    }


_ANSWERS: dict[int | str, str] = {
    400: "A bad request.",
    401: "No token, or one that does not hold.",
    403: "A verb that the caller lacks.",
    404: "Not there, or not this caller's to see.",
    409: "The present state does not allow it.",
    422: "Values that cannot be taken; all of them are named.",
    503: "The database, or a lock in it, is not to be had. With Retry-After, nothing was changed; without it, the "
    "outcome is unknown (outcome.unknown).",
}


def row_id(kind: str, text: str) -> UUID:
    """The row that a path names; whatever is no id of this kind is not there."""
    try:
        return ids.read(kind, text)
    except Invalid:
        raise NotFound(kind) from None


StudentPath = Annotated[str, Path(description="A student's id, or sis:<source>:<sourcedId>.")]
