"""Returns the memory that a process has freed to the operating system.

glibc keeps freed memory for later allocations, and only ever returns the end of its heap by itself. After many large
bodies, one small object that still lives at the end would keep all of their memory with the process.
"""

import ctypes
from collections.abc import Callable
from typing import Final

INTERVAL: Final = 10.0
"""The seconds between two calls. A call takes 1 ms, or about 50 ms after request bodies of 200 MB in total."""


def _trimmer() -> Callable[[int], int] | None:
    """Returns glibc's `malloc_trim`, or None on a system whose C library has no such function."""
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return trim


_trim: Final = _trimmer()


def return_free_memory() -> None:
    """Returns the free pages of the heap to the operating system, if its C library can do so."""
    if _trim is not None:
        _trim(0)
