"""Owns the disclosure log (34 CFR 99.32): one row a request with the students it showed. Never reads them.

The row is written in the transaction of the request, so that nothing is shown without it.
"""

from typing import TYPE_CHECKING

from app.access.models import Disclosure
from app.core.clock import now
from app.core.ids import new_id

if TYPE_CHECKING:
    from app.access.work import Work


async def log_disclosure(work: "Work") -> None:
    """Writes the row of this unit of work, if it showed anybody."""
    if not work.disclosed.students:
        return
    work.db.add(
        Disclosure(
            district_id=work.district_id,
            id=new_id(),
            at=now(),
            client_id=work.principal.client_id,
            person_id=work.principal.person_id,
            principal=work.principal.name,
            operation=work.operation,
            student_ids=sorted(work.disclosed.students),
            kinds=sorted(work.disclosed.kinds),
        )
    )
