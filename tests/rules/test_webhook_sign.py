"""The headers of Standard Webhooks, against the library that receivers use. Pure."""

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.webhooks.sign import headers, shown

SECRET = bytes(range(32))
BODY = '{"type":"concern.raised","data":{"é":1}}'.encode()


def test_a_receiver_verifies_what_we_sign() -> None:
    """The secret as shown, the headers and exactly these bytes."""
    at = datetime.now(UTC)
    sent = headers([SECRET], "evt_1", at, BODY)
    assert sent["webhook-id"] == "evt_1"
    assert sent["webhook-timestamp"] == str(int(at.timestamp()))
    Webhook(shown(SECRET)).verify(BODY, sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(shown(SECRET)).verify(BODY + b" ", sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(shown(bytes(32)[:31] + b"x")).verify(BODY, sent)


def test_two_secrets_make_two_signatures() -> None:
    """Joined by one space, as Standard Webhooks has it: who knows either one verifies, who knows neither does not."""
    other = bytes(range(32, 64))
    sent = headers([SECRET, other], "evt_1", datetime.now(UTC), BODY)
    assert len(sent["webhook-signature"].split(" ")) == 2
    for known in (SECRET, other):
        Webhook(shown(known)).verify(BODY, sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(shown(bytes(32))).verify(BODY, sent)


def test_a_known_signature() -> None:
    """HMAC-SHA256 over `id.timestamp.body`, computed by hand: the scheme cannot drift with the library."""
    import hashlib
    import hmac

    at = datetime(2026, 3, 2, 12, 0, 0, 999_999, tzinfo=UTC)
    sent = headers([SECRET], "evt_1", at, BODY)
    mac = hmac.new(SECRET, b"evt_1.%d." % int(at.timestamp()) + BODY, hashlib.sha256).digest()
    assert sent["webhook-signature"] == f"v1,{base64.b64encode(mac).decode()}"


@pytest.mark.parametrize("zone", [None, timezone(timedelta(hours=-6))])
def test_only_an_instant_in_utc_is_signed(zone: timezone | None) -> None:
    """The library takes a local time for UTC: a signature that no receiver could verify."""
    with pytest.raises(ValueError, match="UTC"):
        headers([SECRET], "evt_1", datetime(2026, 3, 2, tzinfo=zone), BODY)
