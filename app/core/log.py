"""Configures the log of a process: one JSON object per line on standard output, for any log collector.

Every line has the fields of its context: trace id, district, client, run and job. A fault is described by classes and
places in the code, never by its message, which may contain submitted values.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import orjson
import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars, merge_contextvars

from app.core import ids
from app.core.library_log import quiet_libraries

FIELDS = ("trace_id", "district", "client", "run", "job")
"""The context fields of every line; a field without a value is null."""


def log_as_json() -> None:
    """Configures logging so that every log line is one JSON object, whether Aimline or a library logs it."""
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
    quiet_libraries()


@contextmanager
def log_context(**values: str | None) -> Iterator[None]:
    """Adds these values to every line that is logged within the block, and restores the previous values afterwards."""
    previous = get_contextvars()
    bind_contextvars(**values)
    try:
        yield
    finally:
        clear_contextvars()
        bind_contextvars(**previous)


@contextmanager
def job_context(job: str, district_id: UUID | None = None, run_id: UUID | None = None) -> Iterator[None]:
    """Adds a worker's job, with a trace id of its own, to every line that is logged within the block."""
    district = ids.format_id("district", district_id) if district_id else None
    run = ids.format_id("run", run_id) if run_id else None
    with log_context(trace_id=uuid4().hex, job=job, district=district, run=run, client=None):
        yield


def add_to_log_context(**values: str | None) -> None:
    """Adds further values to every later log line, until the surrounding `log_context` ends."""
    bind_contextvars(**values)


def _with_every_field(_logger: Any, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for name in FIELDS:
        line.setdefault(name, None)
    return line
