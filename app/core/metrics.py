"""Defines the Prometheus metrics of an api process.

Labels are route templates, statuses, our own codes and opaque district ids. They are never a path, a name or a
submitted value.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY: Final = CollectorRegistry()
REQUESTS: Final = Counter(
    "aimline_http_requests",
    "Requests, by the route's template, method and status.",
    ("route", "method", "status"),
    registry=REGISTRY,
)
SECONDS: Final = Histogram(
    "aimline_http_request_seconds",
    "Duration of requests, by the route's template.",
    ("route",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)
REFUSALS: Final = Counter(
    "aimline_refusals",
    "Refused requests and connections, by the problem's code.",
    ("code",),
    registry=REGISTRY,
)
DISTRICT_SECONDS: Final = Counter(
    "aimline_district_request_seconds",
    "Total duration of all requests of a district.",
    ("district",),
    registry=REGISTRY,
)
CONNECTIONS: Final = Gauge(
    "aimline_http_connections", "Open client connections.", registry=REGISTRY, multiprocess_mode="livesum"
)
POOL_IN_USE: Final = Gauge(
    "aimline_pool_in_use", "Database connections in use.", registry=REGISTRY, multiprocess_mode="livesum"
)
POOL_LIMIT: Final = Gauge(
    "aimline_pool_limit", "The largest number of database connections.", registry=REGISTRY, multiprocess_mode="livesum"
)
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def count_request(route: str, method: str, status: int, seconds: float, district: str | None) -> None:
    """Counts an answered request and its duration.

    Unknown methods are counted together as `other`, so that a caller cannot create new time series.
    """
    REQUESTS.labels(route, method if method in METHODS else "other", str(status)).inc()
    SECONDS.labels(route).observe(seconds)
    if district is not None:
        DISTRICT_SECONDS.labels(district).inc(seconds)
