"""Owns how it is known that a disk is full: ours, or that of PostgreSQL. Never frees any."""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DATABASE_FULL = "53100"
"""PostgreSQL's SQLSTATE of a disk without room."""


def is_full(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that a disk of this machine has no room."""
    return any(isinstance(one, OSError) and one.errno in FULL for one in _causes(error))


def is_database_full(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that PostgreSQL's disk has no room."""
    return any(_sqlstate(one) == DATABASE_FULL for one in _causes(error))


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _sqlstate(error: BaseException) -> str:
    return str(getattr(error, "sqlstate", None) or getattr(getattr(error, "orig", None), "sqlstate", ""))
