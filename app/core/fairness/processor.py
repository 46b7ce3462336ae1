"""Measures how much processor time this thread has needed, including the time for which it waited for a processor."""

from pathlib import Path
from time import thread_time

SCHEDULED = Path("/proc/thread-self/schedstat")


def processor_demand() -> float:
    """Returns the seconds for which this thread has run or waited for a processor since it started.

    The waiting is included, so that load from other processes does not reduce the number. Outside Linux the waiting
    time is not available, and the function returns the running time only.
    """
    try:
        ran, waited, _ = SCHEDULED.read_text().split()
    except (OSError, ValueError):
        return thread_time()
    return (int(ran) + int(waited)) / 1e9
