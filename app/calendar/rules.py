"""Defines the secret of a calendar link, how long a link lasts, and why it was revoked. Uses no database."""

import re
import secrets
from datetime import date, timedelta
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from app.core import ids
from app.core.crypto import fingerprint
from app.core.errors import Invalid, NotFound, Violation

LONGEST: Final = timedelta(days=400)
"""The longest time for which a link can be valid: a school year and the weeks around it."""
BEFORE: Final = timedelta(days=60)
AHEAD: Final = timedelta(days=400)
"""How far ahead a calendar contains meetings; `BEFORE` is how far back."""
SECRET: Final = re.compile(r"(?P<district>[0-9a-hjkmnp-tv-z]{26})\.(?P<secret>[A-Za-z0-9_-]{43})")
"""The form of a secret: the id of its district without the prefix, and 256 random bits."""


class RevokedBecause(StrEnum):
    """The reasons for which a calendar link is revoked."""

    REQUESTED = "requested"
    PERSON_LEFT = "person_left"
    CLIENT_REVOKED = "client_revoked"


class LinkKey(NamedTuple):
    """What a link's secret contains: the id of the district, and the digest by which the link is found."""

    district_id: UUID
    digest: str


def generate_secret(district_id: UUID) -> str:
    """Returns a new random secret for a calendar link. It contains the id of the district."""
    _, _, district = ids.format_id("district", district_id).partition("_")
    return f"{district}.{secrets.token_urlsafe(32)}"


def read_secret(secret: str) -> LinkKey:
    """Returns the district and the digest of a secret; raises `NotFound` for a text that is not a secret."""
    match = SECRET.fullmatch(secret)
    if match is None:
        raise NotFound("calendar_link")
    try:
        district_id = ids.parse_id("district", f"{ids.PREFIXES['district']}_{match['district']}")
    except Invalid:
        raise NotFound("calendar_link") from None
    return LinkKey(district_id, fingerprint(secret))


def violations_of_end(until_on: date, today: date) -> list[Violation]:
    """Returns a violation if `until_on` is not after today, or is too many days ahead.

    `until_on` is the first day on which a link no longer opens a calendar.
    """
    if today < until_on <= today + LONGEST:
        return []
    detail = f"A day from tomorrow on, and at most {LONGEST.days} days ahead."
    return [Violation("/until_on", "calendar_link.until_on", detail)]
