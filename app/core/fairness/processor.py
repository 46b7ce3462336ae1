"""Measures how much processor time this thread has needed, whether it got it or waited for it."""

from pathlib import Path
from time import thread_time

SCHEDULED = Path("/proc/thread-self/schedstat")


def processor_demand() -> float:
    """Returns the seconds for which this thread has run or has waited for a processor since its start.

    The waiting is included, so that load from other processes does not reduce the number. Outside Linux the waiting
    time is not available, and only the running time is returned.
    """
    try:
        ran, waited, _ = SCHEDULED.read_text().split()
    except (OSError, ValueError):
        return thread_time()
    return (int(ran) + int(waited)) / 1e9
