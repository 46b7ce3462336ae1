"""Owns the headers, secrets and keys of Standard Webhooks: pure. Never stores or sends anything."""

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
    """How an endpoint's deliveries are signed: `v1`, with a secret that both know, or `v1a`, with a key of ours."""

    HMAC = "hmac-sha256"
    ED25519 = "ed25519"


def generate_secret() -> bytes:
    """A new secret, or a new private key (RFC 8032: any 32 bytes are one)."""
    return secrets.token_bytes(SECRET_BYTES)


def format_secret(secret: bytes) -> str:
    """A secret as its receiver keeps it: `whsec_` and base64."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def public_key(private: bytes) -> str:
    """What verifies what a private key signs: `whpk_` and base64. The private key (`whsk_`) never leaves."""
    raw = Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return PUBLIC_PREFIX + base64.b64encode(raw).decode()


def headers(
    keys: Sequence[bytes], webhook_id: str, at: datetime, body: bytes, signature: Signature = Signature.HMAC
) -> dict[str, str]:
    """The three headers over exactly these bytes, a signature for each secret or key, joined by one space.

    `at` must be in UTC: another zone would change the signature.
    """
    if at.utcoffset() != timedelta(0):
        raise ValueError("A webhook is signed with an instant in UTC.")
    whole = datetime.fromtimestamp(int(at.timestamp()), UTC)
    signs = _v1a if signature is Signature.ED25519 else _v1
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(whole.timestamp())),
        "webhook-signature": " ".join(signs(key, webhook_id, whole, body) for key in keys),
    }


def _v1(secret: bytes, webhook_id: str, whole: datetime, body: bytes) -> str:
    return Webhook(secret).sign(webhook_id, whole, body.decode())


def _v1a(private: bytes, webhook_id: str, whole: datetime, body: bytes) -> str:
    told = f"{webhook_id}.{int(whole.timestamp())}.".encode() + body
    return f"v1a,{base64.b64encode(Ed25519PrivateKey.from_private_bytes(private).sign(told)).decode()}"
