"""Defines the parameters of the statement for a person's tasks. The statement is built once and has no values."""

from datetime import date
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Date, Integer, Uuid, bindparam

from app.roster.lookup import IdList

DISTRICT_ID: Final[ColumnElement[UUID]] = bindparam("district_id", type_=Uuid)
PERSON_ID: Final[ColumnElement[UUID]] = bindparam("person_id", type_=Uuid)
"""The acting person, whose tasks are read."""
TODAY: Final[ColumnElement[date]] = bindparam("today", type_=Date)
UNTIL: Final[ColumnElement[date]] = bindparam("until", type_=Date)
"""The last day on which an action item of the list is due."""
SCORE_DAYS: Final[ColumnElement[int]] = bindparam("score_days", type_=Integer)
"""The number of days of instruction after which a score is overdue."""
STUDENTS: Final[ColumnElement[Any]] = bindparam("students", type_=IdList)
"""The acting person's caseload, if the person sees nobody else."""
TEAMS: Final[ColumnElement[Any]] = bindparam("teams", type_=IdList)
"""The acting person's teams."""
