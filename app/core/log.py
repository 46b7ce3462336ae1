"""Owns how the processes log: one JSON object a line on standard output, for any collector. Never what is logged.

Every line carries what was bound around it: trace id, district, client, run and job. A fault is described by classes
and places in the code, never by a message, which may hold what somebody submitted.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import UUID, uuid4

import orjson
import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars, merge_contextvars

from app.core import ids
from app.core.faults import cause_of, sqlstate_of

MOST_PLACES = 12
INNERMOST = 3
"""Of a library's places only so many are told, the innermost; of our own, all of the last `MOST_PLACES`."""
MOST_CAUSES = 3
FIELDS = ("trace_id", "district", "client", "run", "job")
"""What every line has, null where it does not apply."""
PLAIN_LOGGERS = ("uvicorn", "asyncio")
"""Libraries whose templates hold no value in their first line; the arguments are never filled in."""
OURS = ("app/", "migrations/", "tests/")
ROOT = Path(__file__).parents[2]

log = structlog.get_logger()


def log_as_json() -> None:
    """Configures this process: what it logs, and what libraries log, is one JSON object a line."""
    structlog.configure(
        processors=[
            merge_contextvars,
            _with_every_field,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        logger_factory=structlog.BytesLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    # uvicorn gives its loggers handlers of their own, which would print a traceback with its values.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.basicConfig(level=logging.WARNING, handlers=[LibraryHandler()], force=True)


@contextmanager
def log_context(**values: str | None) -> Iterator[None]:
    """Binds values to every line that is logged within; what was bound before holds again afterwards."""
    before = get_contextvars()
    bind_contextvars(**values)
    try:
        yield
    finally:
        clear_contextvars()
        bind_contextvars(**before)


@contextmanager
def job_context(job: str, district_id: UUID | None = None, run_id: UUID | None = None) -> Iterator[None]:
    """Binds a job of the worker, under a trace id of its own, to every line that is logged within."""
    district = ids.show("district", district_id) if district_id else None
    run = ids.show("run", run_id) if run_id else None
    with log_context(trace_id=uuid4().hex, job=job, district=district, run=run, client=None):
        yield


def add_to_log_context(**values: str | None) -> None:
    """Binds values to every line from here to the end of the surrounding `log_context`."""
    bind_contextvars(**values)


def describe_fault(error: BaseException) -> dict[str, Any]:
    """Describes an error by class, SQLSTATE and places (file:line function), and its causes alike; no message."""
    described: dict[str, Any] = _describe(error)
    causes: list[dict[str, Any]] = []
    cause = cause_of(error)
    while cause is not None and len(causes) < MOST_CAUSES:
        causes.append(_describe(cause))
        cause = cause_of(cause)
    return described | ({"causes": causes} if causes else {})


class LibraryHandler(logging.Handler):
    """Logs where a library logs something, and what only if its texts are known to hold no value."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line."""
        error = record.exc_info[1] if record.exc_info else None
        described = describe_fault(error) if error is not None else {}
        if record.name.startswith(PLAIN_LOGGERS):
            described["message"] = str(record.msg).partition("\n")[0]
        place = f"{_short(record.pathname)}:{record.lineno} {record.funcName}"
        log.log(record.levelno, "library", logger=record.name, place=place, **described)


def _describe(error: BaseException) -> dict[str, Any]:
    state = sqlstate_of(error)
    return {
        "kind": type(error).__name__,
        **({"sqlstate": state} if state else {}),
        "places": _places(error.__traceback__)[-MOST_PLACES:],
    }


def _places(trace: TracebackType | None) -> list[str]:
    places: list[tuple[bool, str]] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        file = _short(code.co_filename)
        places.append((file.startswith(OURS), f"{file}:{trace.tb_lineno} {code.co_qualname}"))
        trace = trace.tb_next
    innermost = len(places) - INNERMOST
    return [place for number, (ours, place) in enumerate(places) if ours or number >= innermost]


def _short(filename: str) -> str:
    """Returns a path from the repository or from the library's package on, without the machine's folders."""
    path = Path(filename)
    if "site-packages" in path.parts:
        return "/".join(path.parts[path.parts.index("site-packages") + 1 :])
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def _with_every_field(_logger: Any, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for name in FIELDS:
        line.setdefault(name, None)
    return line
