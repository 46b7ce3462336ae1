"""Measures how much processor time this thread has needed, including the time for which it waited for a processor."""

import os
import threading
from contextlib import suppress
from time import thread_time

SCHEDULED = "/proc/thread-self/schedstat"
MAX_BYTES = 100
_of_thread = threading.local()


def processor_demand() -> float:
    """Returns the seconds for which this thread has run or waited for a processor since it started.

    The waiting is included, so that load from other processes does not reduce the number. Outside Linux the waiting
    time is not available, and the function returns the running time only.
    """
    try:
        ran, waited, _ = os.pread(_opened(), MAX_BYTES, 0).split()
    except (OSError, ValueError, AttributeError):
        return thread_time()
    return (int(ran) + int(waited)) / 1e9


def _opened() -> int:
    """Returns the descriptor of the file with this thread's times. It stays open, because each request reads it."""
    file: _File | None = getattr(_of_thread, "file", None)
    if file is None or file.process != os.getpid():
        file = _of_thread.file = _File()
    return file.descriptor


class _File:
    """The open file with the times of one thread of one process; it is closed when the thread ends."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.descriptor = os.open(SCHEDULED, os.O_RDONLY)

    def __del__(self) -> None:
        with suppress(OSError, AttributeError):
            os.close(self.descriptor)
