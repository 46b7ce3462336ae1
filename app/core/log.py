"""Owns how the processes log: one JSON object a line on standard output, for any collector. Never what is logged."""

import orjson
import structlog

from app.core.library_log import quiet_libraries


def log_as_json() -> None:
    """From here on, for this process."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        logger_factory=structlog.BytesLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    quiet_libraries()
