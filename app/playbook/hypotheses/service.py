"""Publishes and retires kinds of hypotheses. Each change publishes the next version of the playbook."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About
from app.core.text import Text
from app.core.violations import Violations, input_violations
from app.playbook.hypotheses.lookup import kind_in_force
from app.playbook.models import HypothesisKind
from app.playbook.rules import is_code
from app.playbook.service import publish_next_version


@dataclass(frozen=True, slots=True)
class NewHypothesisKind:
    """A kind of hypothesis to be published, or a new name of one."""

    code: Annotated[str, Text(min=1, max=40), About("The code: small letters, digits, `-` and `_`.", "sleep")]
    name: Annotated[str, Text(min=1, max=200), About("The name.", "Sleep")]


@dataclass(frozen=True, slots=True)
class SavedHypothesisKind:
    """A kind of hypothesis, and whether it is new."""

    row: HypothesisKind
    is_new: bool


@needs(Can.PUBLISH_PLAYBOOK)
async def publish_hypothesis_kind(work: Work, new: NewHypothesisKind) -> SavedHypothesisKind:
    """Publishes a kind of hypothesis in the next version of the playbook. A kind of the same code is replaced.

    If the kind of this code that is in force already has the same name, no version is published.
    """
    violations = Violations(input_violations(new))
    with violations:
        if not is_code(new.code):
            detail = "A code has small letters, digits, `-` and `_`."
            raise Invalid([Violation("/code", "hypothesis_kind.code", detail)])
    violations.refuse()
    earlier = await kind_in_force(work, new.code)
    if earlier is not None and earlier.name == new.name:
        return SavedHypothesisKind(earlier, is_new=False)
    number = (await publish_next_version(work)).number
    if earlier is not None:
        earlier.until_version = number
        await work.db.flush()
    row = HypothesisKind(district_id=work.district_id, id=new_id(), code=new.code, name=new.name, from_version=number)
    work.db.add(row)
    await work.db.flush()
    return SavedHypothesisKind(row, is_new=True)


@needs(Can.PUBLISH_PLAYBOOK)
async def retire_hypothesis_kind(work: Work, hypothesis_kind_id: UUID) -> HypothesisKind:
    """Publishes the next version of the playbook without this kind. Existing hypotheses keep the kind."""
    is_row = (HypothesisKind.district_id == work.district_id, HypothesisKind.id == hypothesis_kind_id)
    row = await work.db.scalar(select(HypothesisKind).where(*is_row))
    if row is None:
        raise NotFound("hypothesis_kind")
    if row.until_version is not None:
        raise Conflict("This kind of hypothesis is not in force any more.", code="hypothesis_kind.retired")
    row.until_version = (await publish_next_version(work)).number
    await work.db.flush()
    return row
