"""Defines metrics for operators' alarms: for each source, the hours since a run was applied, and held and failed runs.

The metrics are read from the database, so that every worker reports the same values, even after a restart. The labels
are the short names of district and source. No metric or label contains a student's data.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import sync_status

REGISTRY: Final = CollectorRegistry()
_OF = ("district", "source")
HOURS: Final = Gauge(
    "aimline_sync_hours_since_applied", "Hours since a run of the source was applied.", _OF, registry=REGISTRY
)
HELD: Final = Gauge(
    "aimline_sync_held", "Runs of the source that are held and wait for an answer.", _OF, registry=REGISTRY
)
FAILED: Final = Gauge(
    "aimline_sync_failed", "Runs of the source that have failed within 26 hours.", _OF, registry=REGISTRY
)
FAILED_TO_APPLY: Final = Gauge(
    "aimline_sync_failed_to_apply",
    "Approved runs of the source that could not be applied and wait for another answer.",
    _OF,
    registry=REGISTRY,
)
SILENT: Final = Gauge(
    "aimline_sync_overdue",
    "1 while the source has a schedule and no run has come for 26 hours.",
    _OF,
    registry=REGISTRY,
)


async def read_metrics(engine: AsyncEngine) -> int:
    """Sets the metrics to what the database says, and returns the number of sources."""
    rows = await sync_status(engine)
    for gauge in (HOURS, HELD, FAILED, FAILED_TO_APPLY, SILENT):
        gauge.clear()
    for row in rows:
        labels = (row.district, row.source)
        if row.hours is not None:
            HOURS.labels(*labels).set(float(row.hours))
        HELD.labels(*labels).set(row.held)
        FAILED.labels(*labels).set(row.failed)
        FAILED_TO_APPLY.labels(*labels).set(row.failed_to_apply)
        SILENT.labels(*labels).set(int(row.silent))
    return len(rows)
