"""Serves the token endpoint and the public keys.

It answers with OAuth errors (RFC 6749 §5.2), never with problem details.
"""

import base64
import binascii
from typing import Any
from urllib.parse import unquote_plus

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.access.admission import RateLimited
from app.access.authenticate import OAuthError, grant_token
from app.access.permission import GRANTABLE
from app.core import ids
from app.core.errors import Overloaded, Throttled, Unavailable
from app.rest.admission import fields
from app.rest.door import Services
from app.rest.pages import Shape

router = APIRouter(tags=["oauth"])
NEVER_STORED = {"Cache-Control": "no-store"}


class TokenShape(Shape):
    """An access token (RFC 6749 §5.1), and the district that it is valid for."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str
    district: str


FORM = "application/x-www-form-urlencoded"
PARAMETERS = {
    "grant_type": "Always `client_credentials`.",
    "client_id": "The client's id, unless it is sent by Basic.",
    "client_secret": "The client's secret, unless it is sent by Basic.",
    "scope": "Scopes, separated by spaces; by default, all that the client was granted.",
    "district": "The district, by its short name or id, for a client that serves several.",
}
BODY = {
    "required": True,
    "content": {
        FORM: {
            "schema": {
                "type": "object",
                "description": "A request for a token (RFC 6749 §4.4.2).",
                "required": ["grant_type"],
                "properties": {name: {"type": "string", "description": text} for name, text in PARAMETERS.items()},
            }
        }
    },
}


@router.post("/oauth/token", response_model=TokenShape, operation_id="token", openapi_extra={"requestBody": BODY})
async def token(request: Request) -> JSONResponse:
    """Issues an access token for client credentials, sent in the header (Basic) or in the body."""
    services: Services = request.app.state.services
    try:
        form = await _read_form(request)
        client_id, client_secret = _credentials(request.headers.getlist("authorization"), form)
        address = request.client.host if request.client else None
        with services.attempts.begin(client_id, address):
            scope, district = form.get("scope"), form.get("district")
            grant = await grant_token(services.engine, services.tokens, client_id, client_secret, scope, district)
    except RateLimited as error:
        answer = refuse(request, error)
        answer.raw_headers.extend(fields(error.standings))
        return answer
    except OAuthError as error:
        status = 401 if error.code == "invalid_client" else 400
        headers = NEVER_STORED | ({"WWW-Authenticate": 'Basic realm="aimline"'} if status == 401 else {})
        body = {"error": error.code, "error_description": error.detail}
        return JSONResponse(body, status, headers=headers)
    shape = TokenShape(
        access_token=grant.token,
        token_type="Bearer",  # noqa: S106  # the type's name in RFC 6750, not a secret
        expires_in=grant.seconds,
        scope=" ".join(grant.scopes),
        district=ids.format_id("district", grant.district_id),
    )
    return JSONResponse(shape.model_dump(), headers=NEVER_STORED)


def refuse(_: Request, error: Throttled) -> JSONResponse:
    """Returns the OAuth error for a request that is refused temporarily. Its code `slow_down` is from RFC 8628."""
    status = 503 if isinstance(error, Overloaded) else 429
    body = {"error": "temporarily_unavailable" if status == 503 else "slow_down", "error_description": error.detail}
    return JSONResponse(body, status, headers=NEVER_STORED | {"Retry-After": str(error.retry_after)})


@router.get("/oauth/jwks.json", operation_id="jwks")
async def jwks(request: Request) -> dict[str, Any]:
    """Returns the public keys that verify this service's tokens (RFC 7517)."""
    services: Services = request.app.state.services
    return services.tokens.jwks()


@router.get("/.well-known/oauth-authorization-server", operation_id="authorization_server")
async def authorization_server(request: Request) -> dict[str, Any]:
    """Returns the metadata of the token endpoint (RFC 8414)."""
    services: Services = request.app.state.services
    return {
        "issuer": services.base_url,
        "token_endpoint": f"{services.base_url}/oauth/token",
        "jwks_uri": f"{services.base_url}/oauth/jwks.json",
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "scopes_supported": sorted(can.value for can in GRANTABLE),
        "response_types_supported": [],
    }


def unavailable(error: Unavailable) -> JSONResponse:
    """Returns the OAuth error for a request while the database is not available."""
    body = {"error": "temporarily_unavailable", "error_description": error.detail}
    return JSONResponse(body, 503, headers=NEVER_STORED | {"Retry-After": str(error.retry_after)})


async def _read_form(request: Request) -> dict[str, str]:
    """Returns the parameters of a token request; a parameter without a value is left out (RFC 6749 §3.2)."""
    if request.query_params.keys() & PARAMETERS.keys():
        raise OAuthError("Send the parameters in the body, never in the address.", code="invalid_request")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise OAuthError(f"Send the parameters as {FORM}.", code="invalid_request")
    try:
        sent = await request.form()
    except HTTPException:
        raise OAuthError("The form has too many parameters.", code="invalid_request") from None
    items = [(name, str(value)) for name, value in sent.multi_items() if name in PARAMETERS]
    if len(items) > len(dict(items)):
        raise OAuthError("A parameter is repeated.", code="invalid_request")
    form = {name: value for name, value in items if value}
    if form.get("grant_type") != "client_credentials":
        code = "unsupported_grant_type" if "grant_type" in form else "invalid_request"
        raise OAuthError("The grant type must be client_credentials.", code=code)
    return form


def _credentials(headers: list[str], form: dict[str, str]) -> tuple[str, str]:
    """Returns the client's id and secret from the headers or the form.

    Raises `OAuthError` if there are none, or if they were sent in two ways at once (RFC 6749 §2.3).
    """
    client_id, client_secret = form.get("client_id"), form.get("client_secret")
    if headers:
        header_id, header_secret = _basic(headers[0])
        if len(headers) > 1 or client_secret is not None or client_id not in (None, header_id):
            raise OAuthError("Authenticate in one way: by Basic or in the body.", code="invalid_request")
        client_id, client_secret = header_id, header_secret
    if not client_id or not client_secret:
        raise OAuthError("Send client_id and client_secret, by Basic or in the body.", code="invalid_client")
    return client_id, client_secret


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        user, password = "", ""
    if scheme.lower() != "basic" or not user:
        raise OAuthError("The Authorization header must be Basic.", code="invalid_client")
    # RFC 6749 §2.3.1 requires both to be form-encoded before they are joined.
    return unquote_plus(user), unquote_plus(password)
