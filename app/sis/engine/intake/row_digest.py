"""Makes digests of rows of CSV files that could not be split into cells. Stores nothing."""

import hashlib
import re

_INSTANT = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d[\d:.]*(?:Z|[+-]\d\d:?\d\d)?")


def digest_row(row: bytes) -> str:
    """Returns a digest of a row without its line end and without instants, because some sources renew the time of the
    last change every night.
    """
    return hashlib.blake2b(_INSTANT.sub(b"", row.rstrip(b"\r\n")), digest_size=16).hexdigest()
