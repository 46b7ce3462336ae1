"""Owns the headers and secrets of Standard Webhooks: pure. Never stores or sends anything."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from standardwebhooks.webhooks import Webhook

SECRET_PREFIX = "whsec_"  # noqa: S105  # the prefix of Standard Webhooks, not a secret
SECRET_BYTES = 32


def shown(secret: bytes) -> str:
    """A secret as its receiver keeps it: `whsec_` and base64."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def headers(secrets: Sequence[bytes], webhook_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The three headers over exactly these bytes, a signature for each secret, joined by one space.

    `at` must be in UTC: another zone would change the signature.
    """
    if at.utcoffset() != timedelta(0):
        raise ValueError("A webhook is signed with an instant in UTC.")
    whole = datetime.fromtimestamp(int(at.timestamp()), UTC)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(whole.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(webhook_id, whole, body.decode()) for secret in secrets),
    }
