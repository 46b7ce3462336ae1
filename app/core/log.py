"""Owns how the processes log: one JSON object a line on standard output, for any collector. Never what is logged.

Every line carries what was bound around it: trace id, district, client, run and job. A fault is described by classes
and places in the code, never by a message, which may hold what somebody submitted.
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
"""What every line has, null where it does not apply."""


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
    quiet_libraries()


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


def _with_every_field(_logger: Any, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for name in FIELDS:
        line.setdefault(name, None)
    return line
