"""Implements the headers ETag, If-Match and If-None-Match: which routes have them, and what they contain.

The ETag of a row begins with the row's version and ends with a digest of the response. The digest is needed because
some fields change without a new version, such as how far a source was read, or since when an endpoint has failed.
If-Match compares only the versions.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
from fastapi import Request, Response

from app.access.work import Work
from app.core import ids
from app.core.errors import Invalid, Malformed, Violation
from app.requests.preconditions import ANY_VERSION, ExpectedVersion

IF_MATCH = "If-Match"
IF_NONE_MATCH = "If-None-Match"
MAX_TAGS = 100
TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
TAG_OR_ANY = re.compile(rf"{TAG.pattern}|\*")
READS: dict[str, Any] = {
    "name": IF_NONE_MATCH,
    "in": "header",
    "required": False,
    "description": "The ETag of an earlier response. If nothing has changed, the response is 304 without a body, "
    "which counts against no quota.",
    "schema": {"type": "string"},
}


def writes(*, is_required: bool) -> dict[str, Any]:
    """Returns the description of the If-Match header, for the contract of a route that changes a row."""
    words = "The ETag that you have read, or the row's version in quotes. 412 if the row has changed since."
    more = " Required, so that no change is overwritten unnoticed; `*` accepts any version." if is_required else ""
    return {
        "name": IF_MATCH,
        "in": "header",
        "required": is_required,
        "description": words + more,
        "schema": {"type": "string"},
    }


def etag_of(response: Response) -> str | None:
    """Returns the ETag of a response that shows one row, or None if the row has no version."""
    with suppress(orjson.JSONDecodeError):
        body = orjson.loads(response.body)
        if isinstance(body, Mapping) and isinstance(body.get("version"), int):
            return f'"{body["version"]}-{sha256(response.body).hexdigest()[:16]}"'
    return None


def with_etag(request: Request, response: Response) -> Response:
    """Returns the response with its ETag, or 304 if the client already has it."""
    tag = etag_of(response)
    if tag is None:
        return response
    response.headers["ETag"] = tag
    return Response(status_code=304, headers={"ETag": tag}) if is_known(request, tag) else response


def is_known(request: Request, tag: str) -> bool:
    """Returns whether the client that sends a read already has the response with this ETag."""
    if request.method != "GET" or not (tags := request.headers.getlist(IF_NONE_MATCH)):
        return False
    # Weak comparison, as every cache uses it (RFC 9110 §13.1.2).
    return "*" in _tags(tags, IF_NONE_MATCH) or tag.strip('"') in {name for _, name in TAG.findall(",".join(tags))}


def note_versions(request: Request) -> None:
    """Reads the header If-Match: the versions of the row in the path that the client accepts.

    `expect_versions` uses them later. Without the header, any version is accepted. Raises `Malformed` if the header is
    not valid.
    """
    values = request.headers.getlist(IF_MATCH)
    request.state.expected = None
    if not values:
        return
    tags = _tags(values, IF_MATCH)
    name = list(request.path_params.values())[-1]
    subject: UUID | str = name
    with suppress(Invalid):
        _, subject = ids.parse_any_id(name)
    # Strong comparison, in which a weak tag matches nothing (RFC 9110 §13.1.1).
    strong = [tag.strip('"') for tag in tags if tag.startswith('"')]
    versions = frozenset(int(number) for tag in strong if (number := tag.partition("-")[0]).isdecimal())
    request.state.expected = ExpectedVersion(subject, ANY_VERSION if "*" in tags else versions, f"/{IF_MATCH}")


async def expect_versions(request: Request, work: Work) -> None:
    """Makes the command fail if the client sent `If-Match` and the row has none of the versions in it."""
    expected: ExpectedVersion | None = getattr(request.state, "expected", None)
    if expected is not None:
        await expected.watch(work)


def require_seen(request: Request) -> None:
    """Raises `Malformed` if the client sent a version, but the command has loaded no row that has a version."""
    expected: ExpectedVersion | None = getattr(request.state, "expected", None)
    if expected is not None:
        expected.require_seen()


def _tags(values: list[str], header: str) -> list[str]:
    text = ",".join(values)
    tags = [match.group() for match in TAG_OR_ANY.finditer(text)]
    if not tags or len(tags) > MAX_TAGS or TAG_OR_ANY.sub("", text).strip(" \t,"):
        detail = f'{header} is a list of at most {MAX_TAGS} entity tags, such as "5", or *.'
        raise Malformed([Violation(f"/{header}", "version.malformed", detail)])
    return tags
