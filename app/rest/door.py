"""Opens the unit of work of a REST request: verifies the token, and begins the transaction.

It also looks up the person that the client acts for.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import Depends, Header, Path, Query, Request, Security
from fastapi.security import OAuth2
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.admission import Admission, TokenAttempts
from app.access.authenticate import Tokens
from app.access.permission import GRANTABLE, MEANING, Can
from app.access.principal import Principal
from app.access.work import Work, required_permissions, unit
from app.core import ids
from app.core.address import Allowed
from app.core.crypto import Keyring
from app.core.errors import Invalid, NotFound
from app.core.writer_share import WriterShare
from app.events.hub import FeedHub
from app.requests.origins import Origins
from app.rest.problem import MEDIA_TYPE
from app.rest.repetition import Replayed, find_stored_response
from app.rest.versions import expect_versions, writes
from app.team.caseload import ACT_FOR, bound_to_person, only_person

oauth2 = OAuth2(
    flows={
        "clientCredentials": {
            "tokenUrl": "/oauth/token",
            "scopes": {can.value: MEANING[can] for can in sorted(GRANTABLE)},
        }
    },
    scheme_name="oauth2",
    description=(
        "OAuth 2.0 client credentials at this service's token endpoint. Each secured area has a scope, such as "
        "`area:sel`."
    ),
    auto_error=False,
)
READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Services:
    """The objects of the process that REST routes use: database engine, keys, tokens, network allow-lists."""

    engine: AsyncEngine
    keyring: Keyring
    tokens: Tokens
    base_url: str
    webhook_allowed: Allowed
    sis_allowed: Allowed
    attempts: TokenAttempts
    writers: WriterShare
    hub: FeedHub
    admission: Admission
    origins: Origins
    operations: Mapping[str, frozenset[Can]] = field(default_factory=dict)
    """The scopes that each operation requires, keyed by the operation's id."""


async def principal_of(
    request: Request,
    authorization: Annotated[str | None, Security(oauth2)],
    act_for: Annotated[
        str | None,
        Header(alias=ACT_FOR, description="The person that this request acts for: an id or an external id."),
    ] = None,
) -> Principal:
    """Returns the caller's principal; raises `Unauthenticated`.

    If the request acts for a person, the role and the caseload of this person restrict what the client may do and see.
    """
    if (checked := getattr(request.state, "principal", None)) is not None:
        return cast(Principal, checked)  # The route has verified the token already, before it read the body.
    services: Services = request.app.state.services
    client = services.tokens.read_header(authorization)
    if act_for is None or (name := only_person(request.headers.getlist(ACT_FOR))) is None:
        return client
    return await bound_to_person(services.engine, services.keyring, client, name)


async def open_work(request: Request, principal: Annotated[Principal, Depends(principal_of)]) -> AsyncIterator[Work]:
    """Opens one transaction for the request, which is committed before the response starts.

    Raises `Replayed` if the request was executed before under its idempotency key.
    """
    services: Services = request.app.state.services
    operation = f"{request.method} {request.scope['route'].path}"
    async with services.writers.turn(writes=request.method not in READS):
        async with unit(services.engine, principal, services.keyring, operation) as work:
            answer = await find_stored_response(request, work)
            if answer is None:
                lock_late_students_first(request, work)
                await expect_versions(request, work)
                yield work
    if answer is not None:
        raise Replayed(answer)


def lock_late_students_first(request: Request, work: Work) -> None:
    """On a second attempt of a request, first locks the students that the first attempt could not lock in time.

    If the path of the request names a team, the team is locked before these students, because a team must be locked
    before students.
    """
    late: frozenset[UUID] = getattr(request.state, "late_students", frozenset())
    if late:
        work.late_students = late
        work.named_rows |= {str(value) for value in request.path_params.values()}


OpenWork = Annotated[Work, Depends(open_work, scope="function")]
After = Annotated[str | None, Query(description="The cursor: `next` of the previous page.")]
Limit = Annotated[int | None, Query(description="Rows in a page: 1 to 200, by default 50.")]


def requires(
    *functions: Callable[..., Any],
    gone: str | None = None,
    conflict: str | None = None,
    answers: dict[int, Any] | None = None,
    has_version: bool = False,
    scopes: Iterable[Can] = (),
    **more: Any,
) -> dict[str, Any]:
    """Returns arguments for the declaration of a route, which state in the contract the scopes that the route requires.

    The scopes are those in `scopes`, and those that `functions` require. `functions` are the functions that the route
    calls.

    * `gone` is the description of the response 410, if the route has one.
    * `conflict` is the description of the response 409 of a read. Every write has a response 409 anyway.
    * `answers` has the successful responses in addition to the usual one.
    * `has_version` makes the route take `If-Match`, even if its response does not show the row whose version is
      checked.

    The problem responses are added by `app.rest.contract`.
    """
    refusals = {409: conflict, 410: gone}
    required = {can for function in functions for can in required_permissions(function)} | set(scopes)
    return {
        # A tuple replaces what FastAPI has written; a list would be added to it, as an alternative way to
        # authenticate.
        "openapi_extra": {
            "security": ({"oauth2": sorted(can.value for can in required)},),
            **({"parameters": [writes(is_required=False)]} if has_version else {}),
        },
        "responses": (answers or {}) | {status: refusal(words) for status, words in refusals.items() if words},
        **more,
    }


def refusal(description: str) -> dict[str, Any]:
    """Returns the entry of an error response in the contract of a route, with this description."""
    return {"description": description, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def row_id(kind: str, text: str) -> UUID:
    """Returns the row id in a path; raises `NotFound` for a text that is not an id of this kind."""
    try:
        return ids.parse_id(kind, text)
    except Invalid:
        raise NotFound(kind) from None


StudentPath = Annotated[str, Path(description="A student's id, or sis:<source>:<sourcedId>.")]
