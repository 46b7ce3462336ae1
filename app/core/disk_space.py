"""Recognizes errors which mean that a disk of this machine or of the database server is full."""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DATABASE_FULL = "53100"
"""PostgreSQL's SQLSTATE for a full disk."""


def is_full(error: BaseException) -> bool:
    """Returns whether an error or one of its causes says that a disk of this machine is full."""
    return any(isinstance(cause, OSError) and cause.errno in FULL for cause in _causes(error))


def is_database_full(error: BaseException) -> bool:
    """Returns whether an error or one of its causes says that PostgreSQL's disk is full."""
    return any(_sqlstate(cause) == DATABASE_FULL for cause in _causes(error))


def _causes(error: BaseException | None) -> list[BaseException]:
    causes: list[BaseException] = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes


def _sqlstate(error: BaseException) -> str:
    return str(getattr(error, "sqlstate", None) or getattr(getattr(error, "orig", None), "sqlstate", ""))
