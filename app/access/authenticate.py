"""Issues access tokens to clients, verifies tokens, and determines the principal of each valid token.

Tokens are ES256 JWTs in the style of RFC 9068, and expire within minutes. The signing keys are derived from the key
file, so every process of an installation can issue and verify them.
"""

import hmac
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import Grant, KnownClient, Revocations, find_client
from app.access.principal import Principal, client_principal
from app.core import ids
from app.core.clock import now
from app.core.crypto import Keyring, fingerprint
from app.core.errors import AimlineError, Unauthenticated
from app.core.log import add_to_log_context

ALGORITHM = "ES256"
AUDIENCE = "aimline"
MAX_VERIFIED = 4096
"""The largest number of verified tokens in the cache. The signature of a cached token is not verified again."""


class OAuthError(AimlineError):
    """An error of the token endpoint. Its `code` is one of those in RFC 6749 §5.2."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A new access token, with the properties that the token endpoint returns."""

    token: str
    scopes: tuple[str, ...]
    district_id: UUID
    seconds: int


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """The contents of a valid token: its id, when it was issued, when it expires, and its client's principal."""

    token_id: UUID
    issued_at: int
    expires_at: int
    principal: Principal
    client_id: UUID

    @property
    def district_id(self) -> UUID:
        """Returns the district for which the token was issued."""
        return self.principal.district_id


class Tokens:
    """Issues and verifies the access tokens of one installation. An installation has one keyring and one issuer."""

    def __init__(self, keyring: Keyring, issuer: str, seconds: int) -> None:
        keys: list[Key] = [
            ECKey.import_key(_pem(private), {"alg": ALGORITHM, "use": "sig"})
            for private in keyring.signing_keys().values()
        ]
        for key in keys:
            key.ensure_kid()
        self._keys = KeySet(keys)
        self._signing = keys[0]
        self._issuer = issuer
        self._seconds = seconds
        self._claims = jwt.JWTClaimsRegistry(
            lambda: int(now().timestamp()),
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": AUDIENCE},
            exp={"essential": True},
        )
        self._verified: OrderedDict[bytes, VerifiedToken] = OrderedDict()
        self.revocations = Revocations()

    def jwks(self) -> dict[str, Any]:
        """Returns the public keys as a JSON Web Key Set (RFC 7517)."""
        return dict(self._keys.as_dict(private=False))

    def issue(self, client: KnownClient, grant: Grant, scopes: tuple[str, ...]) -> AccessToken:
        """Returns a new access token with these scopes, for a client in the district of `grant`."""
        at = int(now().timestamp())
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": ids.format_id("client", client.client_id),
            "name": client.name,
            "iat": at,
            "exp": at + self._seconds,
            "jti": str(ids.new_id()),
            "district": ids.format_id("district", grant.district_id),
            "schools": [ids.format_id("org", school) for school in grant.school_ids],
            "scope": " ".join(scopes),
        }
        header = {"alg": ALGORITHM, "kid": self._signing.kid, "typ": "at+jwt"}
        token = jwt.encode(header, claims, self._signing)
        return AccessToken(token, scopes, grant.district_id, self._seconds)

    def read(self, token: str) -> Principal:
        """Returns the principal of a token's client; raises `Unauthenticated` for an invalid or revoked token.

        A verified token is cached by its digest until it expires. If the cache is full, the token that was used least
        recently is dropped.
        """
        digest = sha256(token.encode()).digest()
        verified = self._verified.get(digest)
        if verified is not None and now().timestamp() < verified.expires_at:
            self._verified.move_to_end(digest)
        else:
            self._verified.pop(digest, None)
            verified = self.verify(token)
            self._verified[digest] = verified
            if len(self._verified) > MAX_VERIFIED:
                self._verified.popitem(last=False)
        district_id, client_id = verified.district_id, verified.client_id
        if self.revocations.covers(district_id, client_id, verified.token_id, verified.issued_at):
            raise Unauthenticated("This access token was revoked.")
        return verified.principal

    def read_header(self, authorization: str | None) -> Principal:
        """Verifies the token in an Authorization header and returns its client's principal.

        Also adds the client to every following log line. Does not use the database. Raises `Unauthenticated`.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("Send an access token: Authorization: Bearer …")
        client = self.read(token)
        self.revocations.require_current()
        add_to_log_context(**client.log_names())
        return client

    def verify(self, token: str) -> VerifiedToken:
        """Returns the contents of a token whose signature and claims are valid; raises `Unauthenticated`.

        Does not check whether the token was revoked.
        """
        try:
            decoded = jwt.decode(token, self._keys, algorithms=[ALGORITHM])
            self._claims.validate(decoded.claims)
            claims = decoded.claims
            client_id = ids.parse_id("client", claims["sub"])
            principal = client_principal(
                ids.parse_id("district", claims["district"]),
                client_id,
                claims["name"],
                frozenset(claims["scope"].split()),
                tuple(ids.parse_id("org", school) for school in claims["schools"]),
            )
            return VerifiedToken(UUID(claims["jti"]), int(claims["iat"]), int(claims["exp"]), principal, client_id)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, AimlineError):
            raise Unauthenticated("This access token is not valid. Ask for a new one.") from None


async def grant_token(
    engine: AsyncEngine, tokens: Tokens, client_id: str, secret: str, scope: str | None, district: str | None
) -> AccessToken:
    """Issues a token for a client's id and secret (the client-credentials grant, RFC 6749 §4.4).

    Raises `OAuthError` for wrong credentials, and for scopes or a district that the client was not granted.
    """
    client = await _verify_secret(engine, client_id, secret)
    grant = _choose_grant(client, district)
    scopes = grant.scopes if scope is None else frozenset(scope.split())
    if not scopes or not scopes <= grant.scopes:
        raise OAuthError("The client was not granted all of these scopes.", code="invalid_scope")
    return tokens.issue(client, grant, tuple(sorted(scopes)))


async def _verify_secret(engine: AsyncEngine, client_id: str, secret: str) -> KnownClient:
    try:
        client = await find_client(engine, ids.parse_id("client", client_id))
    except AimlineError:
        client = None
    given_fingerprint = fingerprint(secret)
    live = () if client is None else client.fingerprints
    # Every secret is compared, so that the time does not reveal which one matched.
    matches = [hmac.compare_digest(given_fingerprint, live_fingerprint) for live_fingerprint in live]
    if client is None or not any(matches):
        raise OAuthError("The client is unknown, or its secret does not match.", code="invalid_client")
    return client


def _choose_grant(client: KnownClient, district: str | None) -> Grant:
    if district is None:
        if len(client.grants) == 1:
            return client.grants[0]
        raise OAuthError("Name the district: this client serves several, or none.", code="invalid_request")
    for grant in client.grants:
        if district in (grant.slug, ids.format_id("district", grant.district_id)):
            return grant
    raise OAuthError("The client was not granted this district.", code="invalid_request")


def _pem(private: ec.EllipticCurvePrivateKey) -> bytes:
    return bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
