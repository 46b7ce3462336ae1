"""Writes the disclosure log (34 CFR 99.32): one row per request or delivery with the students whose records it
showed.

The row is written in the transaction of the request, so that nothing is shown without it. Nothing here reads the
log.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING
from uuid import UUID

from app.access.models import Disclosure
from app.core.clock import now
from app.core.ids import new_id

if TYPE_CHECKING:
    from app.access.work import Work


async def log_disclosure(work: "Work") -> None:
    """Writes the disclosure row of this unit of work, if it showed records of any student."""
    if not work.disclosed.students:
        return
    work.db.add(_row(work, work.principal.client_id, work.disclosed.students, work.disclosed.kinds))


def log_sent(work: "Work", client_id: UUID | None, students: Collection[UUID], kind: str) -> None:
    """Writes that records of this kind about these students are sent to a client without a request."""
    if students:
        work.db.add(_row(work, client_id, students, [kind]))


def _row(work: "Work", client_id: UUID | None, students: Collection[UUID], kinds: Collection[str]) -> Disclosure:
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
