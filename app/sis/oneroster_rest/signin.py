"""Owns how a request to a source is authorised: OAuth 2 client credentials, or an OAuth 1.0a signature.

Never writes a secret or a token to a log, an error or a URL, and sends them to the host of the settings only.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit

from app.sis.oneroster_rest.connection import PURL, Connection, normalize_url
from app.sis.oneroster_rest.wire import Answer, Wire
from app.sis.port import SourceRefused

HASHES: Final = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}
HOPS: Final = 3  # redirects of the token endpoint
FRUITLESS: Final = 3  # tokens or signatures in a row that were refused, after which no other is tried
MARGIN: Final = 60.0  # seconds before its end at which a token is renewed; a tenth of its life where that is less
_SCOPE: Final = re.compile(rf"(?:{'|'.join(map(re.escape, PURL.values()))})[a-z.-]{{1,60}}")
ERRORS: Final = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant"),
        *("unauthorized_client", "unsupported_grant_type", "invalid_scope"),
    }
)


class Credentials(Protocol):
    """What authorises a request."""

    async def header(self, method: str, url: str) -> str:
        """The value of `Authorization` for this request."""

    async def renew(self, used: str) -> bool:
        """Told that a header was refused (401): whether another may do better."""

    def accept(self, used: str) -> None:
        """Told that a header was taken."""


def credentials(wire: Wire, warnings: list[str]) -> Credentials:
    """The credentials of a source. What is odd is added to `warnings`."""
    connection = wire.connection
    return OAuth1Signature(connection) if connection.auth == "oauth1" else BearerToken(wire, warnings)


class OAuth1Signature:
    """OAuth 1.0a without a token and without a body (RFC 5849): each request is signed, its query with it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._fruitless = 0

    async def header(self, method: str, url: str) -> str:
        """Signs; each time with another nonce."""
        given = {
            "oauth_consumer_key": self._connection.client_id,
            "oauth_nonce": secrets.token_hex(16),
            "oauth_signature_method": self._connection.signature,
            "oauth_timestamp": str(int(time.time())),
            "oauth_version": "1.0",
        }
        key = f"{_encoded(self._connection.client_secret)}&"
        given["oauth_signature"] = sign(self._connection.signature, key, signature_base(method, url, given))
        return "OAuth " + ", ".join(f'{name}="{_encoded(value)}"' for name, value in sorted(given.items()))

    async def renew(self, used: str) -> bool:
        """A nonce may collide and a clock may turn: another is tried, as long as some are taken."""
        self._fruitless += 1
        return self._fruitless < FRUITLESS

    def accept(self, used: str) -> None:
        """It was taken."""
        self._fruitless = 0


def sign(method: str, key: str, base: str) -> str:
    """The signature of RFC 5849, 3.4.2; HMAC-SHA256 likewise."""
    return base64.b64encode(hmac.new(key.encode(), base.encode(), HASHES[method]).digest()).decode()


def signature_base(method: str, url: str, oauth: Mapping[str, str]) -> str:
    """The signature base string of RFC 5849, 3.4.1, over every parameter of the query."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}.get(parts.scheme.lower())
    authority = host if parts.port in (None, usual) else f"{host}:{parts.port}"
    pairs = [*parse_qsl(parts.query, keep_blank_values=True), *oauth.items()]
    normal = "&".join(f"{name}={value}" for name, value in sorted((_encoded(n), _encoded(v)) for n, v in pairs))
    address = f"{parts.scheme.lower()}://{authority}{parts.path or '/'}"
    return "&".join(_encoded(part) for part in (method.upper(), address, normal))


def _encoded(text: str) -> str:
    return quote(text, safe="~")


class BearerToken:
    """A bearer token: asked for when it is needed, renewed before it ends, or once it is refused."""

    def __init__(self, wire: Wire, warnings: list[str]) -> None:
        self._wire, self._warnings = wire, warnings
        connection = wire.connection
        if not connection.token_url:
            raise SourceRefused("The source has no token-url, and OAuth 2 needs one: ask its vendor for it.")
        self._url = normalize_url(connection.token_url, connection.allowed, "token-url")
        self.scopes: tuple[str, ...] = connection.wanted_scopes
        self.wanted = self.scopes
        self.granted: tuple[str, ...] | None = None
        self.lifetime: float | None = None
        self._lock = asyncio.Lock()
        self._value, self._due, self._fruitless = "", 0.0, 0

    @property
    def known_scopes(self) -> tuple[str, ...]:
        """The granted scopes that we asked for or that OneRoster defines; no other word of an answer is shown."""
        granted = self.scopes if self.granted is None else self.granted
        return tuple(scope for scope in granted if scope in self.wanted or _SCOPE.fullmatch(scope))

    async def header(self, method: str, url: str) -> str:
        """The token that holds."""
        async with self._lock:
            if not self._value or time.monotonic() >= self._due:
                await self._renew()
            return f"Bearer {self._value}"

    async def renew(self, used: str) -> bool:
        """Renews the token, unless another request has; not for ever, where new ones are refused too."""
        async with self._lock:
            if used == f"Bearer {self._value}":
                self._fruitless += 1
                # One that died of its use was taken by a request whose answer may still be on its way.
                if self._fruitless >= FRUITLESS + self._wire.connection.concurrency:
                    return False
                await self._renew()
            return True

    def accept(self, used: str) -> None:
        """It was taken."""
        self._fruitless = 0

    async def _renew(self) -> None:
        answer = await self._ask(self.scopes)
        if answer.status != 200 and _error(answer) == "invalid_scope":
            answer = await self._ask_for_less()
        said = _json(answer)
        value = said.get("access_token")
        if answer.status != 200 or not isinstance(value, str) or not value.isprintable() or not value:
            raise SourceRefused(self._why(answer))
        self._value = value.strip()
        scope = said.get("scope")
        self.granted = tuple(scope.split()) if isinstance(scope, str) and scope else None
        try:
            self.lifetime = float(said["expires_in"])
        except (KeyError, TypeError, ValueError):
            self.lifetime = None
        life = self.lifetime if self.lifetime and self.lifetime > 0 else float("inf")
        self._due = time.monotonic() + life - min(MARGIN, life / 10)

    async def _ask_for_less(self) -> Answer:
        """Some endpoints give no token at all for a scope that is not granted: each is tried alone, then all given."""
        given = [one for one in self.scopes if (await self._ask((one,))).status == 200]
        refused = [one.rpartition("/")[2] for one in self.scopes if one not in given]
        self._warnings.append(f"The source does not grant {', '.join(refused)}: asked for without.")
        self.scopes = tuple(given)
        return await self._ask(self.scopes)

    async def _ask(self, scopes: Iterable[str]) -> Answer:
        """Asks as RFC 6749, 2.3.1 has it, the id and secret of a Basic header encoded; and, if refused, as they are."""
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
        """Follows a 307 or 308 on the same host, and nothing else."""
        sent = {"Content-Type": "application/x-www-form-urlencoded", **headers}

        async def made() -> Mapping[str, str]:
            return sent

        url = self._url
        for _ in range(HOPS):
            answer = await self._wire.ask("POST", url, made, urlencode(form).encode())
            if not 300 <= answer.status < 400:
                return answer
            there = urljoin(url, answer.headers.get("location", ""))
            if answer.status not in (307, 308) or urlsplit(there)[:2] != urlsplit(url)[:2]:
                raise SourceRefused(
                    "The token endpoint sends us to another place, where the secret must not go: "
                    "set the source's token-url to where it is now."
                )
            url = normalize_url(there, self._wire.connection.allowed, "token-url") if "?" not in there else there
        raise SourceRefused("The token endpoint redirects without end: ask the source's vendor for its token-url.")

    def _why(self, answer: Answer) -> str:
        error = _error(answer)
        told = f" ({error})" if error else ""
        if answer.status in (401, 403) or error in ("invalid_client", "unauthorized_client"):
            how = "the Basic header" if self._wire.connection.auth == "oauth2-basic" else "the body"
            return (
                f"The token endpoint refuses the client{told}: check its id and secret, and whether it takes them in "
                f"{how}. `aimline sis doctor` tries both."
            )
        if error == "invalid_scope":
            return "The token endpoint grants none of the scopes that were asked for: ask the vendor which it grants."
        if answer.status == 404:
            return "There is no token endpoint at the source's token-url: ask its vendor for it, or use oauth1."
        return f"The token endpoint answers {answer.status}{told} and gives no token: check the source's token-url."


def _basic(pair: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _json(answer: Answer) -> dict[str, Any]:
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _error(answer: Answer) -> str:
    """The error of RFC 6749, 5.2, if it is one of its words."""
    said = _json(answer).get("error")
    return said if isinstance(said, str) and said in ERRORS else ""
