"""Starts the product's processes for tests, with given settings and nothing of the caller's environment."""

import atexit
import os
import ssl
import subprocess
from functools import cache
from pathlib import Path

from app.settings import Settings
from tests.warm import Warm

REPOSITORY = Path(__file__).parents[1]
TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain http: reading all the certificates of the world takes longer than most requests to loopback."""


def environment(settings: Settings | None = None, **more: str) -> dict[str, str]:
    """This process's environment without what configures Aimline; over settings if there are any."""
    given = {}
    if settings is not None:
        given = {
            "AIMLINE_DATABASE_URL": settings.database_url,
            "AIMLINE_KEY": settings.key,
            "AIMLINE_BASE_URL": settings.base_url,
            "AIMLINE_SANDBOX": "1",
        }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIMLINE_")}
    return kept | given | more


def aimline(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `aimline` with these arguments says, and how it ends."""
    return warm().run(["aimline", *arguments], environment(settings))


@cache
def warm() -> Warm:
    """One for all commands: importing the product takes longer than what most of them do."""
    warm = Warm()
    atexit.register(warm.close)
    return warm
