"""Runs the product's worker with a clock that is wrong by some seconds: `… skewed_worker -600`."""

import sys
from datetime import datetime, timedelta

from app.core import clock

_right = clock.now


def _wrong() -> datetime:
    return _right() + timedelta(seconds=float(sys.argv[1]))


clock.now = _wrong  # before anything takes it by name

if __name__ == "__main__":
    from app.worker import main

    main()
