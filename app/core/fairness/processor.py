"""Owns how much of a processor this thread has asked for."""

from pathlib import Path
from time import thread_time

SCHEDULED = Path("/proc/thread-self/schedstat")


def processor_demand() -> float:
    """Returns the seconds in which this thread has run or waited to run, which other processes cannot make less.

    Where the system does not tell (only Linux does), the seconds in which it has run.
    """
    try:
        ran, waited, _ = SCHEDULED.read_text().split()
    except (OSError, ValueError):
        return thread_time()
    return (int(ran) + int(waited)) / 1e9
