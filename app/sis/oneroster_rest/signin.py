"""Authorizes requests to a source: with OAuth 2 client credentials, or with an OAuth 1.0a signature.

Secrets and tokens are sent to the configured host only. They are never written to a log, an error or a URL.

This file exceeds 250 lines so that all methods of sign-in are in one place.
"""

import asyncio
import base64
import hmac
import json
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit

from authlib.oauth1.rfc5849.parameters import prepare_headers
from authlib.oauth1.rfc5849.signature import SIGNATURE_HMAC_SHA1, construct_base_string, hmac_sha1_signature
from authlib.oauth1.rfc5849.util import escape

from app.sis.oneroster_rest.connection import PURL, Connection, normalize_url
from app.sis.oneroster_rest.wire import Answer, Wire
from app.sis.port import CollectionRefused, SourceRefused

HOPS: Final = 3  # The maximum number of redirects of the token endpoint that are followed.
MAX_REFUSALS: Final = 3  # The number of refused tokens or signatures in a row after which no other is tried.
MARGIN: Final = 60.0  # Seconds before the end of a token at which it is renewed; at most a tenth of its lifetime.
_SCOPE: Final = re.compile(rf"(?:{'|'.join(map(re.escape, PURL.values()))})[a-z.-]{{1,60}}")
ERRORS: Final = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant"),
        *("unauthorized_client", "unsupported_grant_type", "invalid_scope"),
    }
)


class Credentials(Protocol):
    """A method of sign-in, which makes the `Authorization` header of the requests to a source."""

    async def header(self, method: str, url: str) -> str:
        """Returns the value of the `Authorization` header for this request."""

    async def renew(self, used: str) -> bool:
        """Returns whether to send the refused request again with a new header.

        It is called after the source refused the header `used` with status 401.
        """

    def accept(self, used: str) -> None:
        """Notes that the source has accepted a request with the header `used`."""


def credentials(wire: Wire, warnings: list[str]) -> Credentials:
    """Returns the credentials for the method of sign-in that is configured for the source.

    If the method uses bearer tokens, irregular responses of the token endpoint are added to `warnings`.
    """
    connection = wire.connection
    return OAuth1Signature(connection) if connection.auth == "oauth1" else BearerToken(wire, warnings)


class OAuth1Signature:
    """Signs requests by OAuth 1.0a (RFC 5849), without a token and without a body.

    A signature covers the request's query.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._refusals = 0

    async def header(self, method: str, url: str) -> str:
        """Returns the header with a signature of the request and a new nonce."""
        connection = self._connection
        parameters = {
            "oauth_consumer_key": connection.client_id,
            "oauth_nonce": secrets.token_hex(16),
            "oauth_signature_method": connection.signature,
            "oauth_timestamp": str(int(time.time())),
            "oauth_version": "1.0",
        }
        base = signature_base(method, url, parameters)
        parameters["oauth_signature"] = sign(connection.signature, base, connection.client_secret)
        header: str = prepare_headers(parameters.items())["Authorization"]
        return header

    async def renew(self, used: str) -> bool:
        """Returns whether to sign the refused request again. Returns False after several refusals in a row.

        A new signature may help if the nonce had been used before, or if the clocks differ.
        """
        self._refusals += 1
        return self._refusals < MAX_REFUSALS

    def accept(self, used: str) -> None:
        """Resets the count of refusals."""
        self._refusals = 0


def sign(method: str, base: str, client_secret: str, token_secret: str = "") -> str:
    """Returns the signature of a base string (RFC 5849, 3.4.2).

    HMAC-SHA256, which the RFC does not define, works in the same way.
    """
    if method == SIGNATURE_HMAC_SHA1:
        signature: str = hmac_sha1_signature(base, client_secret, token_secret)
        return signature
    key = f"{escape(client_secret)}&{escape(token_secret)}"
    return base64.b64encode(hmac.digest(key.encode(), base.encode(), "sha256")).decode()


def signature_base(method: str, url: str, oauth: Mapping[str, str]) -> str:
    """Returns the text that is signed: the signature base string of RFC 5849, 3.4.1, with every query parameter."""
    query = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    # The library expects the protocol's parameters encoded, as in a header.
    protocol = [(name, escape(value)) for name, value in oauth.items()]
    base: str = construct_base_string(method, url, [*query, *protocol])
    return base


class BearerToken:
    """An OAuth 2 bearer token.

    It is requested when it is first needed, and renewed before it expires or after a refusal.
    """

    def __init__(self, wire: Wire, warnings: list[str]) -> None:
        self._wire, self._warnings = wire, warnings
        connection = wire.connection
        if not connection.token_url:
            raise SourceRefused("The source has no token-url, and OAuth 2 needs one: ask its vendor for it.")
        self._url = normalize_url(connection.token_url, connection.allowed, "token-url")
        self.scopes: tuple[str, ...] = connection.requested_scopes
        self.requested = self.scopes
        self.granted: tuple[str, ...] | None = None
        self.lifetime: float | None = None
        self._lock = asyncio.Lock()
        self._value, self._due, self._refusals = "", 0.0, 0

    @property
    def known_scopes(self) -> tuple[str, ...]:
        """Returns the granted scopes that were requested or that OneRoster defines.

        Only these scopes are shown, because any other scope is an arbitrary text from the source.
        """
        granted = self.scopes if self.granted is None else self.granted
        return tuple(scope for scope in granted if scope in self.requested or _SCOPE.fullmatch(scope))

    async def header(self, method: str, url: str) -> str:
        """Returns the header with a valid token; renews the token first if it is about to expire."""
        async with self._lock:
            if not self._value or time.monotonic() >= self._due:
                await self._renew()
            return f"Bearer {self._value}"

    async def renew(self, used: str) -> bool:
        """Renews the token, unless another request has already done so.

        Returns True if the refused request should be sent again, and False after several refusals in a row.
        """
        async with self._lock:
            if used == f"Bearer {self._value}":
                self._refusals += 1
                # A token with few uses may have been used up by requests whose responses are still on their way.
                if self._refusals >= MAX_REFUSALS + self._wire.connection.concurrency:
                    return False
                await self._renew()
            return True

    def accept(self, used: str) -> None:
        """Sets the count of successive refused requests to zero, because the source has accepted one."""
        self._refusals = 0

    async def _renew(self) -> None:
        answer = await self._request(self.scopes)
        if answer.status != 200 and _error(answer) == "invalid_scope":
            answer = await self._request_granted_scopes()
        content = _json(answer)
        value = content.get("access_token")
        if answer.status != 200 or not isinstance(value, str) or not value.isprintable() or not value:
            raise SourceRefused(self._why(answer))
        self._value = value.strip()
        scope = content.get("scope")
        self.granted = tuple(scope.split()) if isinstance(scope, str) and scope else None
        try:
            self.lifetime = float(content["expires_in"])
        except (KeyError, TypeError, ValueError):
            self.lifetime = None
        life = self.lifetime if self.lifetime and self.lifetime > 0 else float("inf")
        self._due = time.monotonic() + life - min(MARGIN, life / 10)

    async def _request_granted_scopes(self) -> Answer:
        """Tries each scope alone, then requests a token for all scopes that were granted. Returns the response.

        This is needed because some token endpoints issue no token at all if one of the requested scopes is not granted.
        """
        granted = [scope for scope in self.scopes if (await self._request((scope,))).status == 200]
        refused = [scope.rpartition("/")[2] for scope in self.scopes if scope not in granted]
        self._warnings.append(f"The source does not grant {', '.join(refused)}: the token was requested without.")
        self.scopes = tuple(granted)
        return await self._request(self.scopes)

    async def _request(self, scopes: Iterable[str]) -> Answer:
        """Requests a token, and returns the response.

        Client id and secret are encoded as in RFC 6749, 2.3.1. If the endpoint refuses this, the request is repeated
        without the encoding.
        """
        connection = self._wire.connection
        form = {"grant_type": "client_credentials", "scope": " ".join(scopes)}
        form = {name: value for name, value in form.items() if value}
        pair = (connection.client_id, connection.client_secret)
        if connection.auth == "oauth2-body":
            return await self._post(form | {"client_id": pair[0], "client_secret": pair[1]}, {})
        encoded, plain = ":".join(quote(part, safe="") for part in pair), ":".join(pair)
        answer = await self._post(form, _basic(encoded))
        if answer.status in (400, 401) and _error(answer) != "invalid_scope" and encoded != plain:
            answer = await self._post(form, _basic(plain))
        return answer

    async def _post(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """Sends a form to the token endpoint. Follows a redirect only if it is a 307 or 308 to the same host."""
        all_headers = {"Content-Type": "application/x-www-form-urlencoded", **headers}

        async def get_headers() -> Mapping[str, str]:
            return all_headers

        url = self._url
        for _ in range(HOPS):
            try:
                answer = await self._wire.send("POST", url, get_headers, urlencode(form).encode())
            except CollectionRefused as error:  # without a token no collection can be read
                raise SourceRefused(error.detail) from None
            if not 300 <= answer.status < 400:
                return answer
            location = urljoin(url, answer.headers.get("location", ""))
            if answer.status not in (307, 308) or urlsplit(location)[:2] != urlsplit(url)[:2]:
                raise SourceRefused(
                    "The token endpoint sends us to another place, where the secret must not go: "
                    "set the source's token-url to where it is now."
                )
            url = (
                normalize_url(location, self._wire.connection.allowed, "token-url") if "?" not in location else location
            )
        raise SourceRefused("The token endpoint redirects without end: ask the source's vendor for its token-url.")

    def _why(self, answer: Answer) -> str:
        error = _error(answer)
        reason = f" ({error})" if error else ""
        if answer.status in (401, 403) or error in ("invalid_client", "unauthorized_client"):
            place = "the Basic header" if self._wire.connection.auth == "oauth2-basic" else "the body"
            return (
                f"The token endpoint refuses the client{reason}: check its id and secret, and whether it takes them in "
                f"{place}. `aimline sis doctor` tries both."
            )
        if error == "invalid_scope":
            return "The token endpoint grants none of the requested scopes: ask the vendor which ones it grants."
        if answer.status == 404:
            return "There is no token endpoint at the source's token-url: ask its vendor for it, or use oauth1."
        return f"The token endpoint answers {answer.status}{reason} and gives no token: check the source's token-url."


def _basic(pair: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _json(answer: Answer) -> dict[str, Any]:
    try:
        content = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _error(answer: Answer) -> str:
    """Returns the error code of a response if RFC 6749, 5.2, defines the code. Otherwise returns an empty string."""
    error = _json(answer).get("error")
    return error if isinstance(error, str) and error in ERRORS else ""
