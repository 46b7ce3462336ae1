"""The token endpoint and the public keys.

It answers with OAuth errors (RFC 6749 §5.2), never with problem details.
"""

import base64
import binascii
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Form, Header, Request
from fastapi.responses import JSONResponse

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


@router.post("/oauth/token", response_model=TokenShape, operation_id="token")
async def token(
    request: Request,
    grant_type: Annotated[str | None, Form()] = None,
    client_id: Annotated[str | None, Form()] = None,
    client_secret: Annotated[str | None, Form()] = None,
    scope: Annotated[
        str | None, Form(description="Scopes, separated by spaces; by default, all that the client was granted.")
    ] = None,
    district: Annotated[str | None, Form(description="The district, for a client that serves several.")] = None,
    authorization: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> JSONResponse:
    """Issues an access token for client credentials, sent in the header (Basic) or in the body."""
    services: Services = request.app.state.services
    try:
        if grant_type != "client_credentials":
            code = "invalid_request" if grant_type is None else "unsupported_grant_type"
            raise OAuthError("The grant type must be client_credentials.", code=code)
        if authorization is not None:
            client_id, client_secret = _basic(authorization)
        if not client_id or not client_secret:
            raise OAuthError("Send client_id and client_secret, by Basic or in the body.", code="invalid_client")
        address = request.client.host if request.client else None
        with services.attempts.begin(client_id, address):
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
    """Returns the OAuth error for a request that is refused temporarily; `slow_down` is registered by RFC 8628."""
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
    """Returns the token endpoint's error while the database is not available."""
    body = {"error": "temporarily_unavailable", "error_description": error.detail}
    return JSONResponse(body, 503, headers=NEVER_STORED | {"Retry-After": str(error.retry_after)})


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        user, password = "", ""
    if scheme.lower() != "basic" or not user:
        raise OAuthError("The Authorization header must be Basic.", code="invalid_client")
    # RFC 6749 §2.3.1 requires both to be percent-encoded before they are joined.
    return unquote(user), unquote(password)
