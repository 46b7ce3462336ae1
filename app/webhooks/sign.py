"""Builds signed headers, secrets and keys for deliveries, as the specification Standard Webhooks requires."""

import base64
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from standardwebhooks.webhooks import Webhook

SECRET_PREFIX = "whsec_"  # noqa: S105  # the prefix of Standard Webhooks, not a secret
PUBLIC_PREFIX = "whpk_"
SECRET_BYTES = 32


class Signature(StrEnum):
    """The method by which deliveries are signed: `v1` with a shared secret, or `v1a` with our private key."""

    HMAC = "hmac-sha256"
    ED25519 = "ed25519"


def generate_secret() -> bytes:
    """Returns 32 random bytes: a new secret, or a new private key (RFC 8032 allows any 32 bytes)."""
    return secrets.token_bytes(SECRET_BYTES)


def format_secret(secret: bytes) -> str:
    """Returns a secret in the form that the receiver stores: `whsec_` and the secret in base64."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def public_key(private: bytes) -> str:
    """Returns the public key that belongs to a private key, as `whpk_` and base64.

    The private key (`whsk_`) is never shown.
    """
    raw = Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return PUBLIC_PREFIX + base64.b64encode(raw).decode()


def headers(
    keys: Sequence[bytes], webhook_id: str, at: datetime, body: bytes, signature: Signature = Signature.HMAC
) -> dict[str, str]:
    """Returns the three headers that Standard Webhooks requires for a body, with one signature for each secret or key.

    The signatures are separated by spaces. Raises `ValueError` if `at` is not in UTC.
    """
    if at.utcoffset() != timedelta(0):
        raise ValueError("A webhook is signed with an instant in UTC.")
    instant = datetime.fromtimestamp(int(at.timestamp()), UTC)
    sign_with = _v1a if signature is Signature.ED25519 else _v1
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(instant.timestamp())),
        "webhook-signature": " ".join(sign_with(key, webhook_id, instant, body) for key in keys),
    }


def _v1(secret: bytes, webhook_id: str, instant: datetime, body: bytes) -> str:
    return Webhook(secret).sign(webhook_id, instant, body.decode())


def _v1a(private: bytes, webhook_id: str, instant: datetime, body: bytes) -> str:
    signed_content = f"{webhook_id}.{int(instant.timestamp())}.".encode() + body
    return f"v1a,{base64.b64encode(Ed25519PrivateKey.from_private_bytes(private).sign(signed_content)).decode()}"
