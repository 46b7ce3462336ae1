"""Replaces the log records of libraries and of Python by our own log lines, without the text of any exception.

The text of an exception may contain personal data (PostgreSQL's DETAIL, a pydantic warning, a task's repr). Some of the
people who read logs have no right to see such data. For libraries whose messages are known, the first line of the
message template is logged without its arguments.
"""

import logging
import re
import sys
import threading
import time
from types import TracebackType
from typing import Any

import structlog

from app.core.fault_report import describe_fault, short_path

log = structlog.get_logger()
MAX_MESSAGE_LENGTH = 200
MAX_LINES = 5
"""The largest number of equal lines that are logged per `PERIOD`.

Strangers can cause some of these lines, for example by sending bytes that are not HTTP.
"""
PERIOD = 60.0
MAX_PLACES = 1000
PLAIN_LOGGERS = ("uvicorn", "asyncio", "concurrent.futures", "sqlalchemy.pool")
"""The loggers whose messages are logged. Only the first line of a message's template is logged, never its arguments."""
_WARNING = re.compile(r"(?P<place>[^\n]{0,200}?:\d+): (?P<kind>\w+): ")


class PlainHandler(logging.Handler):
    """Forwards the log records of libraries to our own log, at most `MAX_LINES` equal lines per `PERIOD`."""

    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._quota = LineQuota()

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record as one line, unless the quota of equal lines is used up.

        The line states how many equal lines were left out in the previous period.
        """
        facts: dict[str, Any] = {"logger": record.name, "message": _message(record)}
        facts["place"] = f"{short_path(record.pathname)}:{record.lineno} {record.funcName}"
        if record.exc_info and record.exc_info[1] is not None:
            facts |= describe_fault(record.exc_info[1])
        left_out = self._quota.take(repr(facts))
        if left_out is None:
            return
        if left_out:
            facts["left_out"] = left_out
        (log.error if record.levelno >= logging.ERROR else log.warning)("library", **facts)


class LineQuota:
    """Counts equal lines, and lets the first `MAX_LINES` of them pass in each period."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[float, int]] = {}  # for each line: the end of its period, and its count

    def take(self, line: str) -> int | None:
        """Counts a line, and returns how many equal lines were left out in the previous period.

        Returns None if this line must be left out.
        """
        now = time.monotonic()
        until, count = self._counts.get(line, (0.0, 0))
        if now < until:
            self._counts[line] = (until, count + 1)
            return 0 if count < MAX_LINES else None
        if len(self._counts) >= MAX_PLACES:
            self._counts.clear()
        self._counts[line] = (now + PERIOD, 1)
        return max(count - MAX_LINES, 0)


def quiet_libraries() -> None:
    """Makes this process write libraries' log records, Python's warnings and uncaught exceptions as plain log lines."""
    root = logging.getLogger()
    root.handlers[:] = [PlainHandler(logging.WARNING)]
    for name in ("uvicorn", "uvicorn.error"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    sys.unraisablehook = lambda hook: _uncaught(hook.exc_type, hook.exc_value, hook.exc_traceback)
    threading.excepthook = lambda hook: _uncaught(hook.exc_type, hook.exc_value, hook.exc_traceback)


def _message(record: logging.LogRecord) -> str:
    if record.name == "py.warnings":
        warning = _WARNING.match(record.getMessage())
        return f"{warning['kind']} at {warning['place']}" if warning else "A warning."
    if isinstance(record.msg, BaseException):
        # The web server logs an OSError as a message if it cannot listen, for example because an address is in use.
        return str(record.msg)[:MAX_MESSAGE_LENGTH] if isinstance(record.msg, OSError) else type(record.msg).__name__
    if not record.name.startswith(PLAIN_LOGGERS):
        return ""
    lines = str(record.msg).splitlines()
    return lines[0][:MAX_MESSAGE_LENGTH] if lines else ""


def _uncaught(kind: type[BaseException], error: BaseException | None, _trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("Interrupted.\n")
        return
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        # An exception group has no message of its own, so its first exception is reported.
        error = error.exceptions[0]
        kind = type(error)
    log.error("uncaught", **(describe_fault(error) if error is not None else {"kind": kind.__name__}))
