"""Writes the roster of a synthetic sandbox district, with which the benchmarks measure the sync.

`python -m bench.make_roster OUT.zip [--students 100000]`: 100,000 students have about a million enrollments.
"""

import sys

from app.sandbox.export import main

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if not any(argument.startswith("--students") for argument in arguments):
        arguments += ["--students", "100000"]
    if not any(argument.startswith("--date") for argument in arguments):
        arguments += ["--date", "2026-11-02"]  # the same bytes in whatever year it is run
    main(arguments)
