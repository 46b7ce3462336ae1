"""Owns what an api process counts of itself for Prometheus. Labels are routes, statuses and codes of ours, and opaque
ids of districts: never a path, a name or a value that somebody sent.
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
    "How long requests took, by the route's template.",
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
    "How long all requests of a district took.",
    ("district",),
    registry=REGISTRY,
)
CONNECTIONS: Final = Gauge(
    "aimline_http_connections", "Open connections of callers.", registry=REGISTRY, multiprocess_mode="livesum"
)
POOL_IN_USE: Final = Gauge(
    "aimline_pool_in_use", "Connections to the database in use.", registry=REGISTRY, multiprocess_mode="livesum"
)
POOL_LIMIT: Final = Gauge(
    "aimline_pool_limit", "Connections to the database at most.", registry=REGISTRY, multiprocess_mode="livesum"
)
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def count_request(route: str, method: str, status: int, seconds: float, district: str | None) -> None:
    """Counts a request that has been answered. A method that nobody knows must not make a series of its own."""
    REQUESTS.labels(route, method if method in METHODS else "other", str(status)).inc()
    SECONDS.labels(route).observe(seconds)
    if district is not None:
        DISTRICT_SECONDS.labels(district).inc(seconds)
