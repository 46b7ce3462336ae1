"""Prepares the SQL statements that read the results of a screening window, open or closed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
from sqlalchemy import BindParameter, Text, TextClause, Uuid, bindparam, text

from app.access.work import Work
from app.evidence.screening.classified import PARAMETERS, values_of, within_caseload
from app.evidence.screening.cuts import ExpectedInWindow, SuggestedLevels
from app.evidence.screening.models import ScreeningWindow
from app.evidence.screening.rules import WindowState
from app.insight.statements import KEPT_RESULTS, OPEN_RESULTS

NAMES: Final = re.compile(r"(?<!:):(\w+)")
"""Matches a named parameter in an SQL statement."""


@dataclass(frozen=True, slots=True)
class ResultsQuery:
    """The SQL that reads the results of a window. The method `statement` builds complete statements around this SQL.

    * `counted` is the name of the subquery in this SQL that has the rows to count.
    * `parameters` declares the bind parameters with their types, and `values` has their values.
    """

    sql: str
    counted: str
    parameters: tuple[BindParameter[Any], ...]
    values: Mapping[str, Any]

    def having(self, parameters: Sequence[BindParameter[Any]], values: Mapping[str, Any]) -> "ResultsQuery":
        """Returns a copy of the query that also has these parameters and values."""
        return replace(self, parameters=(*self.parameters, *parameters), values={**self.values, **values})

    def statement(self, template: str, **parts: str) -> tuple[TextClause, dict[str, Any]]:
        """Inserts the SQL for these results into a template. Returns the statement and its parameters' values."""
        sql = template.format(results=self.sql, counted=self.counted, **parts)
        used = set(NAMES.findall(sql))
        statement = text(sql).bindparams(*(one for one in self.parameters if one.key in used))
        return statement, {name: value for name, value in self.values.items() if name in used}


def results_of(
    work: Work,
    window: ScreeningWindow,
    expected: Sequence[ExpectedInWindow],
    levels: SuggestedLevels,
    *,
    students: str = "",
    listed: str = "",
) -> ResultsQuery:
    """Returns the SQL for those results of a window that the caller may see.

    `expected` lists which students are to be screened by which measure. `levels` are the levels that scores suggest.
    `students` and `listed` are further SQL conditions, which begin with AND: `students` is about a student (alias `p`),
    and `listed` selects the results to be listed (alias `x`).
    """
    where, scores, more_parameters, more_values = within_caseload(work)
    kept = window.state == WindowState.CLOSED
    school = "" if window.school_id is None or kept else " AND :window_school = ANY (p.school_ids)"
    template = KEPT_RESULTS if kept else OPEN_RESULTS
    areas = [{"measure_id": str(one.measure.id), "area_id": str(area)} for one in expected for area in one.area_ids]
    values = values_of(work, window, expected, levels) | more_values
    values |= {"window": window.id, "window_school": window.school_id, "areas": orjson.dumps(areas).decode()}
    parameters = (
        *PARAMETERS,
        *more_parameters,
        bindparam("areas", type_=Text),
        bindparam("window", type_=Uuid),
        bindparam("window_school", type_=Uuid),
    )
    sql = template.format(students=f"{where}{school}{students}", scores=scores, listed=listed)
    return ResultsQuery(sql, "outcome" if kept else "classified", parameters, values)
