"""Replaces the log records of libraries and of Python by our own log lines, without the text of any exception.

The text of an exception may contain data (PostgreSQL's DETAIL, a pydantic warning, a task's repr), and more people read
a log than may read the data. For libraries whose messages are known, the first line of the message template is logged
without its arguments.
"""

import logging
import re
import sys
import threading
from types import TracebackType
from typing import Any

import structlog

from app.core.fault_report import describe_fault, short_path

log = structlog.get_logger()
MAX_MESSAGE_LENGTH = 200
PLAIN_LOGGERS = ("uvicorn", "asyncio", "concurrent.futures", "sqlalchemy.pool")
"""Libraries whose message templates have no value in their first line; the arguments are never logged."""
_WARNING = re.compile(r"(?P<place>[^\n]{0,200}?:\d+): (?P<kind>\w+): ")


class PlainHandler(logging.Handler):
    """Forwards a library's log records to our own log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the record as one line."""
        facts: dict[str, Any] = {"logger": record.name, "message": _message(record)}
        facts["place"] = f"{short_path(record.pathname)}:{record.lineno} {record.funcName}"
        if record.exc_info and record.exc_info[1] is not None:
            facts |= describe_fault(record.exc_info[1])
        (log.error if record.levelno >= logging.ERROR else log.warning)("library", **facts)


def quiet_libraries() -> None:
    """Turns log records of libraries, warnings and uncaught exceptions of this process into plain log lines."""
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
        warning = _WARNING.match(str(record.args[0])) if isinstance(record.args, tuple) and record.args else None
        return f"{warning['kind']} at {warning['place']}" if warning else "A warning."
    if isinstance(record.msg, BaseException):
        # An OSError with a message of the server itself, such as an address in use.
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
