"""Tests that no exception of any library writes submitted values into the processes' logs."""

import logging
import re
import subprocess
import sys
from typing import Any

import orjson
import pytest
from sqlalchemy.engine import make_url

from app.core import library_log
from app.settings import Settings
from tests.processes import REPOSITORY, environment

CANARY = "Featherstonehaugh"
PATIENCE = 300  # seconds in which a process must end, on however slow a machine
BEGIN = f"""
import asyncio, gc, logging.config, threading, warnings
from app.core.log import log_as_json
from uvicorn.config import LOGGING_CONFIG
logging.config.dictConfig(LOGGING_CONFIG)
log_as_json()
name = "{CANARY}"
def fail():
    raise ValueError(f"DETAIL: Key (family_name)=({{name}}) already exists.")
"""
CHANNELS = {
    "a task that nobody awaits": """
async def run():
    async def child(): fail()
    task = asyncio.create_task(child()); await asyncio.sleep(0.01); del task; gc.collect()
asyncio.run(run())
""",
    "a callback of the loop": """
async def run():
    asyncio.get_running_loop().call_soon(fail); await asyncio.sleep(0.01)
asyncio.run(run())
""",
    "the server": """
try: fail()
except ValueError: logging.getLogger("uvicorn.error").error("Exception in ASGI application\\n", exc_info=True)
""",
    "the connection pool": """
try: fail()
except ValueError: logging.getLogger("sqlalchemy.pool").error("Error closing %r", name, exc_info=True)
""",
    "an exception that is logged as the message": """
try: fail()
except ValueError as error: logging.getLogger("aiohttp").error(error)
""",
    "a warning": """
warnings.warn(f"PydanticSerializationUnexpectedValue(input_value={name!r})")
""",
    "a thread": """
thread = threading.Thread(target=fail); thread.start(); thread.join()
""",
    "a finalizer": """
class Held:
    def __del__(self): fail()
held = Held(); del held; gc.collect()
""",
    "the process's end": "fail()",
    "a group of exceptions": """
async def run():
    async def child(): fail()
    async with asyncio.TaskGroup() as group: group.create_task(child())
asyncio.run(run())
""",
}


def _run(channel: str) -> subprocess.CompletedProcess[str]:
    """Runs a program that logs by this channel, and returns its output."""
    return subprocess.run(
        [sys.executable, "-c", BEGIN + CHANNELS[channel]],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment(),
        timeout=PATIENCE,
        check=False,
    )


def test_settings_show_no_secret(settings: Settings) -> None:
    """Printed settings and keyrings contain no key and no password."""
    shown = f"{settings!r} {settings} {settings.keyring!r} {settings.keyring}"
    password = make_url(settings.database_url).password
    assert password is not None
    secrets = [password, *settings.keyring.keys.values()]
    for secret in secrets:
        text = secret if isinstance(secret, str) else repr(secret)[2:-1]
        assert text not in shown
    assert settings.key.partition(":")[2] not in shown


@pytest.mark.parametrize("channel", CHANNELS)
def test_no_exception_is_told_in_its_own_words(channel: str) -> None:
    """An exception that is logged in any of several ways gives exactly one line, without the text of the exception."""
    ran = _run(channel)
    assert CANARY not in ran.stdout + ran.stderr
    lines = [orjson.loads(line) for line in ran.stdout.splitlines()]
    assert len(lines) == 1, ran.stdout + ran.stderr
    assert lines[0]["event"] in ("library", "uncaught")
    assert ran.stderr == ""


def test_a_warning_has_its_kind_and_place() -> None:
    """The line of a warning names the warning's class, file and line."""
    ran = _run("a warning")
    assert re.fullmatch(r"UserWarning at <string>:\d+", orjson.loads(ran.stdout)["message"]), ran.stdout


def test_what_strangers_can_repeat_is_logged_a_few_times_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """If callers can cause a log line, for example by bytes that are not HTTP, it is logged at most five times a
    minute.

    A later line states how many equal lines were left out.
    """
    lines: list[dict[str, Any]] = []
    clock = [1000.0]
    monkeypatch.setattr("app.core.library_log.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(library_log.log, "warning", lambda event, **facts: lines.append(facts), raising=False)
    handler = library_log.PlainHandler()

    def log(message: str, times: int) -> None:
        for _ in range(times):
            handler.emit(logging.LogRecord("uvicorn.error", logging.WARNING, "/x.py", 7, message, None, None))

    log("Invalid HTTP request received.", 10_000)
    log("Another.", 1)
    assert [line["message"] for line in lines] == ["Invalid HTTP request received."] * 5 + ["Another."]
    clock[0] += library_log.PERIOD
    log("Invalid HTTP request received.", 2)
    assert [line.get("left_out") for line in lines[6:]] == [9_995, None]
    for number in range(5000):  # however many places there are, what is kept of them is bounded
        log(f"Place {number}", 1)
    assert len(handler._quota._counts) <= library_log.MAX_PLACES
