"""Writes the disclosure log (34 CFR 99.32): one row per request or delivery, with the students whose records it
showed.

The row is written in the transaction of the request, so that no record is shown without a row in the log.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.models import Disclosure
from app.access.principal import Principal
from app.core.clock import now
from app.core.ids import new_id


@dataclass
class DisclosedRecords:
    """The students whose records a unit of work showed, and the kinds of these records."""

    students: set[UUID] = field(default_factory=set)
    kinds: set[str] = field(default_factory=set)


class DisclosingWork(Protocol):
    """The part of the class `Work` that the disclosure log uses.

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


async def log_disclosure(work: DisclosingWork) -> None:
    """Writes the disclosure log's row for this unit of work, if it showed records of any student."""
    if not work.disclosed.students:
        return
    work.db.add(_row(work, work.principal.client_id, work.disclosed.students, work.disclosed.kinds))


def log_sent(work: DisclosingWork, client_id: UUID | None, students: Collection[UUID], kind: str) -> None:
    """Writes a row for records of one kind that are sent to a client without a request, such as by a webhook."""
    if students:
        work.db.add(_row(work, client_id, students, [kind]))


def _row(
    work: DisclosingWork, client_id: UUID | None, students: Collection[UUID], kinds: Collection[str]
) -> Disclosure:
    return Disclosure(
        district_id=work.district_id,
        id=new_id(),
        at=now(),
        client_id=client_id,
        person_id=work.principal.person_id,
        principal=work.principal.name,
        operation=work.operation,
        student_ids=sorted(students),
        kinds=sorted(kinds),
    )
