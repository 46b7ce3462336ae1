"""Formats the sandbox SIS's responses in OneRoster's form: the envelope, the paging headers, and imsx_StatusInfo."""

import hashlib
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from app.sandbox.sis_query import Query, Refused
from app.sandbox.sis_quirks import Quirks

NOT_IN_11 = {
    "forbidden": "unauthorisedrequest",
    "server_busy": "targetreadfailure",
    "invalid_filter_field": "invaliddata",
}
FOREIGN = "https://sis.example.net"


def refusal(error: Refused, version: str, quirks: Quirks) -> Response:
    """Returns an error response in OneRoster's form, or as HTML if the deviation (quirk) `html-errors` is switched
    on.
    """
    if "html-errors" in quirks:
        return HTMLResponse(f"<html><body><h1>{error.status}</h1></body></html>", error.status, error.headers)
    return JSONResponse(status_info(error, version, quirks), error.status, error.headers)


def status_info(error: Refused, version: str, quirks: Quirks) -> dict[str, object]:
    """Returns the imsx_StatusInfo object that describes an error."""
    minor = NOT_IN_11.get(error.minor, error.minor) if version == "1.1" else error.minor
    info: dict[str, object] = {"imsx_codeMajor": "failure", "imsx_severity": "error"}
    if version == "1.1":
        # A digest and not a random number, so that two sandboxes with the same seed answer with the same bytes.
        info["imsx_messageRefIdentifier"] = hashlib.sha256(f"{minor} {error.description}".encode()).hexdigest()[:16]
    info["imsx_description"] = error.description
    if "no-code-minor" not in quirks:
        field = {"imsx_codeMinorFieldName": "TargetEndSystem", "imsx_codeMinorFieldValue": minor}
        info["imsx_CodeMinor"] = {"imsx_codeMinorField": [field]}
    return info


def paging(request: Request, query: Query, total: int, quirks: Quirks) -> dict[str, str]:
    """Returns the headers X-Total-Count and Link of a page. The quirks (switchable deviations) `no-total` and `no-link`
    leave out one of them.

    Link has the addresses of the first and the last page and, if they exist, of the previous and the next page.
    """
    headers = {} if "no-total" in quirks else {"X-Total-Count": str(total)}
    if "no-link" in quirks:
        return headers
    limit, offset = query.limit, query.offset
    offsets = {"first": 0, "last": max(0, (total - 1) // limit * limit)}
    if offset + limit < total:
        offsets["next"] = offset + limit
    if offset > 0:
        offsets["prev"] = max(0, offset - limit)
    links = (f'<{_at(request.url, limit, to, quirks)}>; rel="{rel}"' for rel, to in offsets.items())
    return headers | {"Link": ", ".join(links)}


def _at(url: URL, limit: int, offset: int, quirks: Quirks) -> str:
    from_query = [pair for pair in _pairs(url) if pair[0] not in ("limit", "offset")]
    tail = f"{url.path}?{urlencode([*from_query, ('limit', limit), ('offset', offset)])}"
    if "relative-next" in quirks:
        return tail
    if "hostless-next" in quirks:
        return f"{url.scheme}://{tail}"
    return f"{FOREIGN if 'foreign-next' in quirks else origin(url)}{tail}"


def _pairs(url: URL) -> list[tuple[str, str]]:
    return parse_qsl(url.query, keep_blank_values=True)


def origin(url: URL) -> str:
    """Returns the scheme and the host of a request's URL, as the client wrote them."""
    return f"{url.scheme}://{url.netloc}"
