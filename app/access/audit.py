"""Owns the disclosure log (34 CFR 99.32): one row a request with the students it showed. Never reads them.

The row is written in the transaction of the request, so that nothing is shown without it.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, Text
from sqlalchemy.dialects.postgresql import UUID as PgUUID
from sqlalchemy.orm import Mapped, mapped_column

from app.access.work import Work
from app.core.clock import now
from app.core.db import Base, TenantRow
from app.core.ids import new_id


class Disclosure(TenantRow, Base):
    """Who was shown which kinds of record about whom, when, by which operation."""

    __tablename__ = "disclosure"

    at: Mapped[datetime]
    client_id: Mapped[UUID | None]
    person_id: Mapped[UUID | None]
    principal: Mapped[str]
    operation: Mapped[str]
    student_ids: Mapped[list[UUID]] = mapped_column(ARRAY(PgUUID))
    kinds: Mapped[list[str]] = mapped_column(ARRAY(Text))


async def log_disclosure(work: Work) -> None:
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
