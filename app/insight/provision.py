"""Reports how soon students get supports, and how many students have supports at each level and grade.

"How soon" is the number of days from a signal to the first session. A number about fewer than 10 students is withheld,
and so are other numbers that would reveal it. No number is about a teacher or another adult.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Date, Uuid, bindparam, text

from app.access.permission import Can
from app.access.work import Work, needs
from app.evidence.screening.cuts import suggested_levels
from app.evidence.screening.rules import school_year_of
from app.insight.names import ReportNames, read_report_names
from app.insight.rules import DIMENSIONS, SMALLEST, Atom, Cell, Dimension, find_published
from app.insight.statements import AREA_DAYS, GRADES_AND_LEVELS
from app.roster.lookup import today_of

YEAR_BEGINS: Final = (7, 1)
LEVEL, GRADE = DIMENSIONS.index(Dimension.LEVEL), DIMENSIONS.index(Dimension.GRADE)


@dataclass(frozen=True, slots=True)
class DaysToSession:
    """The median number of days from a student's first signal in an area to the first session of a support for it.

    `level` is the level of that support. If it is None, supports of all levels are counted together.
    """

    area_id: UUID
    level: int | None
    students: int
    median_days: float


@dataclass(frozen=True, slots=True)
class ShareAtLevel:
    """The number of students at a level, and their share of all students of `grade`; None means all grades."""

    grade: str | None
    level: int
    students: int
    share: float


@dataclass(frozen=True, slots=True)
class ProvisionReport:
    """The days from a signal to the first session, and the number of students at each level.

    `names` has the names of the areas and levels. Only students that the caller may see are counted. `withheld` states
    whether any numbers are withheld.
    """

    school_year: int
    names: ReportNames
    days_to_session: list[DaysToSession]
    levels: list[ShareAtLevel]
    withheld: bool


@needs(Can.READ_SIGNALS, Can.READ_SUPPORTS, Can.READ_ROSTER, Can.READ_PLAYBOOK)
async def provision_report(work: Work) -> ProvisionReport:
    """Returns the days from a signal to the first session in this school year, and the share of students by level.

    The days are counted from accepted signals that belong to a concern. A student counts at the highest level of the
    student's active supports, or at the first level if there are none.
    """
    today = await today_of(work)
    year = school_year_of(today)
    values: dict[str, Any] = {"district": work.district_id, "since": date(year - 1, *YEAR_BEGINS)}
    parameters = (bindparam("district", type_=Uuid), bindparam("since", type_=Date))
    days, days_withheld = _days_of((await work.db.execute(text(AREA_DAYS).bindparams(*parameters), values)).all())
    core = (await suggested_levels(work)).core
    of_district = text(GRADES_AND_LEVELS).bindparams(parameters[0])
    rows = (await work.db.execute(of_district, {"district": work.district_id})).all()
    atoms: Counter[Atom] = Counter()
    for row in rows:
        # A student without a support counts at the first level, just like a student with a support of that level.
        atoms["", row.grade, str(row.rank or core), ""] += row.students
    shares, shares_withheld = _shares_of(atoms)
    names = await read_report_names(work, areas={one.area_id for one in days})
    return ProvisionReport(year, names, days, shares, days_withheld or shares_withheld)


def _days_of(rows: Iterable[Any]) -> tuple[list[DaysToSession], bool]:
    """Returns the medians that may be published, and whether any are withheld.

    Each is the median number of days from a signal to the first session. Each area is decided separately, because one
    student can count in several areas.
    """
    by_area: dict[UUID, dict[int | None, tuple[int, float]]] = {}
    for row in rows:
        by_area.setdefault(row.area_id, {})[row.rank] = (row.students, float(row.days))
    listed, withheld = [], False
    for area_id, by_level in by_area.items():
        atoms: dict[Atom, int] = {
            ("", "", str(rank), ""): students for rank, (students, _) in by_level.items() if rank is not None
        }
        published = find_published(atoms)
        if by_level[None][0] < SMALLEST:
            withheld = True
            continue
        listed.append(DaysToSession(area_id, None, *by_level[None]))
        shown = [rank for rank in by_level if rank is not None and ((LEVEL,), (str(rank),)) in published]
        listed += [DaysToSession(area_id, rank, *by_level[rank]) for rank in shown]
        withheld |= len(shown) + 1 < len(by_level)
    return listed, withheld


def _shares_of(atoms: Mapping[Atom, int]) -> tuple[list[ShareAtLevel], bool]:
    """Returns the shares that may be published, and whether any share is withheld."""
    published: dict[Cell, int] = find_published(atoms)
    total = sum(atoms.values())
    if total < SMALLEST:
        return [], bool(total)
    shares = []
    for (place, cell), students in published.items():
        if place == (LEVEL,):
            shares.append(ShareAtLevel(None, int(cell[0]), students, students / total))
        elif place == (GRADE, LEVEL):
            of_grade = published[(GRADE,), (cell[0],)]
            shares.append(ShareAtLevel(cell[0], int(cell[1]), students, students / of_grade))
    counted = sum(share.students for share in shares if share.grade is not None)
    shares.sort(key=lambda share: (share.grade is not None, share.grade or "", share.level))
    return shares, counted < total
