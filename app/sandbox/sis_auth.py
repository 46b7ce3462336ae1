"""Authenticates clients by OAuth 2 client credentials (RFC 6749), or by OAuth 1.0a signatures (RFC 5849).

A signed request has no body. Tokens are kept in memory. No secret is ever written to a log.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

from starlette.requests import Request

from app.sandbox.sis_query import Refused
from app.sandbox.sis_quirks import Quirks

SCOPES: Final = {
    "1.1": "roster-core.readonly roster.readonly roster-demographics.readonly resource.readonly gradebook.readonly"
    " gradebook.createput gradebook.delete",
    "1.2": "roster-core.readonly roster.readonly roster-demographics.readonly resource-core.readonly"
    " resource.readonly gradebook-core.readonly gradebook.readonly gradebook.createput gradebook.createpost"
    " gradebook.delete assessment.readonly assessment.createput assessment.delete",
}
PREFIX: Final = {
    "1.1": "https://purl.imsglobal.org/spec/or/v1p1/scope/",
    "1.2": "https://purl.imsglobal.org/spec/or/v1p2/scope/",
}
READ_SCOPES: Final = frozenset(
    PREFIX[version] + name for version, names in SCOPES.items() for name in names.split() if name.endswith(".readonly")
)
"""The scopes that a token gets if its request names no scopes (RFC 6749, 3.3)."""
ALL_SCOPES: Final = {PREFIX[version] + name for version, names in SCOPES.items() for name in names.split()}
SKEW = 300  # the largest difference in seconds between a signature's clock and ours
HASHES: Final = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}


@dataclass(slots=True)
class Token:
    """An issued token, with its scopes, the time at which it expires, and how often it was used."""

    scopes: frozenset[str]
    expires: float
    used: int = 0


class Gate:
    """Authenticates requests of the sandbox's only client, and issues its tokens."""

    def __init__(self, client_id: str, client_secret: str, lifetime: int, quirks: Quirks) -> None:
        self.client_id, self.client_secret = client_id, client_secret
        self.lifetime, self.quirks = lifetime, quirks
        self.tokens: dict[str, Token] = {}
        self.nonces: dict[str, float] = {}

    async def grant(self, request: Request) -> dict[str, object]:
        """Issues a token, and returns the response of the token endpoint.

        Raises `Refused` for an invalid request. The error has a code of RFC 6749, such as `invalid_scope`.
        """
        body = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        self._check_client(request.headers.get("authorization", ""), body)
        if body.get("grant_type") != "client_credentials":
            raise Refused(400, "unsupported_grant_type", "grant_type must be client_credentials.")
        scopes = frozenset(body.get("scope", "").split()) or READ_SCOPES
        if not scopes <= ALL_SCOPES:
            raise Refused(400, "invalid_scope", "scope must list OneRoster's scopes, separated by spaces.")
        token = secrets.token_urlsafe(24)
        self.tokens[token] = Token(scopes, time.monotonic() + self.lifetime)
        answer: dict[str, object] = {"access_token": token, "token_type": "Bearer", "scope": " ".join(sorted(scopes))}
        return answer if "no-expires" in self.quirks else answer | {"expires_in": self.lifetime}

    def check(self, request: Request, version: str, scopes: Iterable[str]) -> None:
        """Raises `Refused` (401, 403) unless the request has a valid signature, or a token with one of the scopes."""
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "oauth" and version == "1.1":
            return self._check_signature(request, credentials)
        challenge = {"WWW-Authenticate": "OAuth" if "oauth1-only" in self.quirks else "Bearer"}
        token = self.tokens.get(credentials) if scheme.lower() == "bearer" else None
        if token is not None:
            token.used += 1
            uses = self.quirks.number("token-dies")
            if token.expires <= time.monotonic() or (uses is not None and token.used > uses):
                del self.tokens[credentials]
                token = None
        if token is None or "oauth1-only" in self.quirks:
            raise Refused(401, "unauthorisedrequest", "The token is missing, unknown or expired.", challenge)
        if token.scopes.isdisjoint(PREFIX[version] + scope for scope in scopes):
            minor = "forbidden" if version == "1.2" else "unauthorisedrequest"
            raise Refused(403, minor, "The token has no scope that allows this.")

    def _check_client(self, header: str, body: dict[str, str]) -> None:
        client_id, secret = body.get("client_id", ""), body.get("client_secret", "")
        if "token-basic" in self.quirks:
            client_id = secret = ""
        if header.lower().startswith("basic ") and "token-body" not in self.quirks:
            try:
                pair = base64.b64decode(header[6:], validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                pair = ""
            client_id, secret = (unquote(part) for part in pair.partition(":")[::2])
        if not (_same(client_id, self.client_id) and _same(secret, self.client_secret)):
            raise Refused(401, "invalid_client", "The client is unknown.", {"WWW-Authenticate": "Basic"})

    def _check_signature(self, request: Request, header: str) -> None:
        parameters = {name: unquote(value) for name, value in re.findall(r'([a-z_]+)="([^"]*)"', header)}
        signature, method = parameters.pop("oauth_signature", ""), parameters.get("oauth_signature_method", "")
        parameters.pop("realm", None)
        if method not in HASHES:
            raise _unsigned("oauth_signature_method is HMAC-SHA1 or HMAC-SHA256.")
        base = signature_base(request.method, str(request.url), parameters)
        key = f"{quote(self.client_secret, safe='~')}&".encode()
        digest = hmac.new(key, base.encode(), HASHES[method]).digest()
        is_valid = _same(signature, base64.b64encode(digest).decode())
        if not is_valid or not _same(parameters.get("oauth_consumer_key", ""), self.client_id):
            raise _unsigned("The signature is not valid.")
        now, stamp = time.time(), parameters.get("oauth_timestamp", "")
        if not stamp.isdecimal() or abs(int(stamp) - now) > SKEW:
            raise _unsigned("The timestamp is too far from now.")
        self.nonces = {nonce: until for nonce, until in self.nonces.items() if until > now}
        nonce = f"{stamp} {parameters.get('oauth_nonce', '')}"
        if nonce in self.nonces:
            raise _unsigned("The nonce was used before.")
        self.nonces[nonce] = now + 2 * SKEW


def signature_base(method: str, url: str, oauth: dict[str, str]) -> str:
    """Returns the signature base string of RFC 5849, 3.4.1. It includes every query parameter.

    `oauth` has the OAuth parameters except the signature.
    """
    address, _, query = url.partition("?")
    pairs = [*parse_qsl(query, keep_blank_values=True), *oauth.items()]
    encoded = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in pairs)
    normalized = "&".join(f"{name}={value}" for name, value in encoded)
    return "&".join(quote(part, safe="~") for part in (method.upper(), address, normalized))


def _same(left_text: str, right_text: str) -> bool:
    return hmac.compare_digest(left_text.encode(), right_text.encode())


def _unsigned(why: str) -> Refused:
    return Refused(401, "unauthorisedrequest", why, {"WWW-Authenticate": "OAuth"})
