"""Recognizes errors which mean that a disk of this machine or of the database server is full."""

import errno

from app.core.faults import causes_of, sqlstate_of

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DATABASE_FULL = "53100"
"""PostgreSQL's SQLSTATE for a full disk."""


def is_full(error: BaseException) -> bool:
    """Returns whether an error or one of its causes says that a disk of this machine is full."""
    return any(isinstance(cause, OSError) and cause.errno in FULL for cause in causes_of(error))


def is_database_full(error: BaseException) -> bool:
    """Returns whether an error or one of its causes says that PostgreSQL's disk is full."""
    return any(sqlstate_of(cause) == DATABASE_FULL for cause in causes_of(error))
