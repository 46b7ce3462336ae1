"""Writes the disclosure log (34 CFR 99.32): one row for each request or delivery that showed records of students.

The row is written in the transaction of the request, so that no record is shown without a row in the log.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.models import Disclosure
from app.access.principal import Principal
from app.core.clock import now
from app.core.ids import new_id

COLUMNS = ("district_id", "id", "at", "client_id", "person_id", "principal", "operation", "student_ids", "kinds")
INSERT = """
INSERT INTO disclosure (district_id, id, at, client_id, person_id, principal, operation, student_ids, kinds)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"""


@dataclass
class DisclosedRecords:
    """The students whose records a unit of work showed, and the kinds of these records."""

    students: set[UUID] = field(default_factory=set)
    kinds: set[str] = field(default_factory=set)


class DisclosingWork(Protocol):
    """Those parts of the class `Work` that the disclosure log uses.

    `Work` itself cannot be imported here, because the module of `Work` imports this one.
    """

    principal: Principal
    operation: str
    disclosed: DisclosedRecords

    @property
    def district_id(self) -> UUID:
        """Returns the district of the unit of work."""

    @property
    def db(self) -> AsyncSession:
        """Returns the database session of the unit of work."""

    async def run(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """Runs an SQL statement with its parameters and returns the rows."""


async def log_disclosure(work: DisclosingWork) -> None:
    """Writes the disclosure log's row for this unit of work, if it showed records of any student."""
    if not work.disclosed.students:
        return
    await work.run(INSERT, _values(work, work.principal.client_id, work.disclosed.students, work.disclosed.kinds))


def log_sent(work: DisclosingWork, client_id: UUID | None, students: Collection[UUID], kind: str) -> None:
    """Writes a row of the disclosure log for records that were sent without a request, for example by a webhook.

    `students` are the students that the records are about, `kind` is the kind of the records, and `client_id` is the
    client that gets them.
    """
    if students:
        values = _values(work, client_id, students, [kind])
        work.db.add(Disclosure(**dict(zip(COLUMNS, values, strict=True))))


def _values(
    work: DisclosingWork, client_id: UUID | None, students: Collection[UUID], kinds: Collection[str]
) -> tuple[Any, ...]:
    """Returns the values of one row of the disclosure log, in the order of `COLUMNS`."""
    return (
        work.district_id,
        new_id(),
        now(),
        client_id,
        work.principal.person_id,
        work.principal.name,
        work.operation,
        sorted(students),
        sorted(kinds),
    )
