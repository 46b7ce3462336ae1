"""Serves the api's metrics on a separate address that clients of the api cannot reach.

The metrics show how busy each district is. Clients of another district must not see this. If there are several
processes, each writes its metrics to files, and the parent process adds them up. The parent answers even if all other
processes are stuck.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from app.core.errors import AimlineError

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable from which the Prometheus library learns, on import, that there are several processes."""


class Processes(Collector):
    """Collects the metrics that all server processes have written to files.

    A gauge shows a present value, such as the number of open connections. For gauges, processes that have ended are
    left out.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._files: Any = MultiProcessCollector(None, self._folder)  # type: ignore[no-untyped-call]  # an untyped library

    def describe(self) -> Iterable[Metric]:
        """Returns no metrics, because it is not known in advance which metrics the processes will write."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Returns the metrics, each added up over all processes."""
        for pid in {int(file.stem.rpartition("_")[2]) for file in Path(self._folder).glob("gauge_live*.db")}:
            if not _is_alive(pid):
                mark_process_dead(pid, self._folder)  # type: ignore[no-untyped-call]  # an untyped library
        collected: Iterable[Metric] = self._files.collect()
        return collected


@contextmanager
def metrics(port: int | None, host: str, processes: int) -> Iterator[int | None]:
    """Serves the api's metrics during the block, and yields the port on which they are served.

    For several `processes`, these are the metrics of the processes that are started within the block. If `port` is
    None, serves nothing and yields None.
    """
    os.environ.pop(FOLDER, None)
    if port is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="aimline-metrics-")) if processes > 1 else None
    if folder is not None:
        os.environ[FOLDER] = str(folder)
    try:
        with _serve(port, host, folder) as served:
            yield served
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)  # what remains in a temporary folder harms nobody


@contextmanager
def _serve(port: int, host: str, folder: Path | None) -> Iterator[int]:
    try:
        server, thread = start_http_server(port, host, _registry(folder))
    except OSError as error:
        raise AimlineError(f"The metrics cannot be served on {host}:{port}: {error.strerror}.") from None
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _registry(folder: Path | None) -> CollectorRegistry:
    if folder is None:
        from app.core.metrics import REGISTRY

        return REGISTRY
    registry = CollectorRegistry()
    registry.register(Processes(folder))
    return registry


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
