"""Tests the headers of Standard Webhooks against the library that receivers use. No network is used."""

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.webhooks.sign import Signature, format_secret, headers, public_key

SECRET = bytes(range(32))
BODY = '{"type":"concern.raised","data":{"é":1}}'.encode()


def test_a_receiver_verifies_what_we_sign() -> None:
    """A receiver verifies a delivery with the secret as it was shown, the headers, and exactly the bytes of the
    body.
    """
    at = datetime.now(UTC)
    sent = headers([SECRET], "evt_1", at, BODY)
    assert sent["webhook-id"] == "evt_1"
    assert sent["webhook-timestamp"] == str(int(at.timestamp()))
    Webhook(format_secret(SECRET)).verify(BODY, sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(format_secret(SECRET)).verify(BODY + b" ", sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(format_secret(bytes(32)[:31] + b"x")).verify(BODY, sent)


def test_two_secrets_make_two_signatures() -> None:
    """With two secrets a webhook has two signatures, separated by a space; each verifies with its own secret only."""
    other = bytes(range(32, 64))
    sent = headers([SECRET, other], "evt_1", datetime.now(UTC), BODY)
    assert len(sent["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, other):
        Webhook(format_secret(secret)).verify(BODY, sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(format_secret(bytes(32))).verify(BODY, sent)


def test_a_known_signature() -> None:
    """HMAC-SHA256 over `id.timestamp.body` equals a value computed independently of the library."""
    import hashlib
    import hmac

    at = datetime(2026, 3, 2, 12, 0, 0, 999_999, tzinfo=UTC)
    sent = headers([SECRET], "evt_1", at, BODY)
    mac = hmac.new(SECRET, b"evt_1.%d." % int(at.timestamp()) + BODY, hashlib.sha256).digest()
    assert sent["webhook-signature"] == f"v1,{base64.b64encode(mac).decode()}"


@pytest.mark.parametrize("zone", [None, timezone(timedelta(hours=-6))])
def test_only_an_instant_in_utc_is_signed(zone: timezone | None) -> None:
    """Only a time in UTC is accepted for a signature, because the library would treat a local time as UTC."""
    with pytest.raises(ValueError, match="UTC"):
        headers([SECRET], "evt_1", datetime(2026, 3, 2, tzinfo=zone), BODY)


# RFC 8032, section 7.1, test 1: the private key and the public one that belongs to it.
PRIVATE = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def test_a_known_key_has_its_known_public_half() -> None:
    """The public key of a known private key is the expected one, in the form of Standard Webhooks (`whpk_` and
    base64).
    """
    assert public_key(PRIVATE) == f"whpk_{base64.b64encode(PUBLIC).decode()}"


def test_an_asymmetric_signature_is_over_id_time_and_body() -> None:
    """An asymmetric webhook signature is `v1a,` followed by a base64 text.

    With several keys, there is one signature for each key, separated by a space. A signature covers id, time and body,
    and can be verified with the public key alone.
    """
    at = datetime(2026, 3, 2, 12, 0, 0, 999_999, tzinfo=UTC)
    sent = headers([PRIVATE, SECRET], "evt_1", at, BODY, Signature.ED25519)
    signed = b"evt_1.%d." % int(at.timestamp()) + BODY
    for one, public in zip(sent["webhook-signature"].split(" "), (PUBLIC, _public(SECRET)), strict=True):
        kind, _, signature = one.partition(",")
        assert kind == "v1a"
        Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(signature), signed)


def _public(private: bytes) -> bytes:
    return base64.b64decode(public_key(private).removeprefix("whpk_"))
