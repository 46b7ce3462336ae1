"""Lets the syncs of the tests share query plans, which saves a third of their processor time.

The product prepares the statements of a sync again for each run, because a plan depends on the number of rows. In the
tests, runs share a plan if their numbers of rows have the same number of digits.
"""

from typing import Any

from app.core import db
from app.core.bound import BoundConnection
from app.sis.engine.stage import Stage

KEPT = 1000  # statements of a connection; a run has some 150
SIZE = " /* rows of {} digits */"

bound_for_run = Stage._bound
_open_connection = db._open_connection


def share_plans_of_runs() -> None:
    """Lets sync runs of about the same size send the same statements, so that they share query plans.

    A statement normally contains the id of its run. Here, the number of digits in the run's row count replaces this id:
    3 for a run of 500 rows.
    """
    Stage._bound = _bound_for_size  # type: ignore[method-assign, assignment]  # for all tests


async def open_keeping(*options: Any, **keywords: Any) -> BoundConnection:
    """Opens a database connection like the product's, but with room for the prepared statements of several runs."""
    return await _open_connection(*options, **keywords, statement_cache_size=KEPT)


def _bound_for_size(stage: Stage, sql: str) -> tuple[Any, ...]:
    statement, *values = bound_for_run(stage, sql)
    digits = len(str(max(stage.raw_rows.values(), default=0)))
    return statement.replace(f" /* run_{stage.run_id.hex} */", SIZE.format(digits)), *values
