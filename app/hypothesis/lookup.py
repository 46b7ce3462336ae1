"""Looks up the records to which a hypothesis refers."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final
from uuid import UUID

from sqlalchemy import any_, cast, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.core import ids
from app.core.errors import Invalid, Violation
from app.core.violations import Violations
from app.decision.models import Decision
from app.evidence.models import Score
from app.gradebook.models import Result
from app.hypothesis.models import Hypothesis
from app.hypothesis.rules import EVIDENCE_KINDS
from app.note.models import Note
from app.response.models import ResponseState, VerdictRow
from app.roster.lookup import IdList, today_of
from app.support.dosage import Dosage, combine_dosages
from app.support.lookup import DosageWindow, dosages_of
from app.support.models import Phase, Session, Support

EVIDENCE: Final[Mapping[str, Any]] = {
    "score": Score,
    "verdict": VerdictRow,
    "session": Session,
    "decision": Decision,
    "concern": Concern,
    "support": Support,
    "note": Note,
    "result": Result,
}
"""The model of each kind of record that can be evidence."""


@needs(Can.WEIGH_HYPOTHESES)
async def check_evidence(work: Work, about: Concern | Hypothesis, names: Sequence[str], pointer: str) -> None:
    """Checks the records that are given as evidence; raises `Invalid` with every name that is refused.

    A name must be the id of a record that the caller may see and that is about the same student. If the record is in a
    secured area, the concern or hypothesis must be in the same secured area. Otherwise a reader of the hypothesis would
    learn from the id that the record exists.

    Executes one statement for each kind of record.
    """
    violations = Violations()
    places: dict[str, dict[UUID, int]] = {}
    for place, name in enumerate(names):
        at = f"{pointer}/{place}"
        with violations:
            kind, row_id = ids.parse_any_id(name, at)
            if kind not in EVIDENCE_KINDS:
                detail = f"Evidence is one of these: {', '.join(EVIDENCE_KINDS)}."
                raise Invalid([Violation(at, "hypothesis.evidence", detail)])
            places.setdefault(kind, {})[row_id] = place
    for kind, places_by_id in places.items():
        model = EVIDENCE[kind]
        rows = await work.db.execute(
            select(model.id, model.secured_area).where(
                model.district_id == work.district_id,
                model.student_id == about.student_id,
                model.id == any_(cast(list(places_by_id), IdList)),
            )
        )
        secured_areas: dict[UUID, str | None] = dict(rows.all())
        for row_id, place in places_by_id.items():
            at = f"{pointer}/{place}"
            if row_id not in secured_areas:
                detail = f"There is no such {kind} about this student."
                violations.add([Violation(at, f"{kind}.unknown", detail)])
            elif secured_areas[row_id] not in (None, about.secured_area):
                detail = "The record is in a secured area, and the concern is not."
                violations.add([Violation(at, "hypothesis.secured_area", detail)])
    violations.refuse()


@needs(Can.WEIGH_HYPOTHESES)
async def locate_support(work: Work, name: str, hypothesis: Hypothesis) -> Support:
    """Returns the support with the id `name`; raises `Invalid` if this support cannot test the hypothesis.

    The support must be for the same student and must not have ended. If the support is in a secured area, the
    hypothesis must be in the same area, because readers of the hypothesis also see the support's verdict and dosage.
    """
    query = select(Support).where(
        Support.district_id == work.district_id,
        Support.id == ids.parse_id("support", name, "/support"),
        Support.student_id == hypothesis.student_id,
    )
    support: Support | None = await work.db.scalar(query)
    if support is None:
        detail = "There is no such support of this student."
        raise Invalid([Violation("/support", "support.unknown", detail)])
    if support.state == "ended":
        detail = "This support has ended: only one that goes on can test a hypothesis."
        raise Invalid([Violation("/support", "hypothesis.support_ended", detail)])
    if support.secured_area not in (None, hypothesis.secured_area):
        detail = "The support is in a secured area, and the concern is not."
        raise Invalid([Violation("/support", "hypothesis.secured_area", detail)])
    return support


@needs(Can.WEIGH_HYPOTHESES)
async def verdict_now(work: Work, support_id: UUID) -> ResponseState | None:
    """Returns the present state of a support, with its verdict, or None if the support has no verdict."""
    query = select(ResponseState).where(
        ResponseState.district_id == work.district_id, ResponseState.support_id == support_id
    )
    state: ResponseState | None = await work.db.scalar(query)
    return state


@needs(Can.WEIGH_HYPOTHESES)
async def dosage_since(work: Work, support_id: UUID, since: date) -> Dosage | None:
    """Returns the dosage of a support from a day until today, or None if the support had not begun."""
    support = await work.db.scalar(
        select(Support).where(Support.district_id == work.district_id, Support.id == support_id)
    )
    phases = await work.db.scalars(
        select(Phase)
        .where(Phase.district_id == work.district_id, Phase.support_id == support_id)
        .order_by(Phase.number)
    )
    if support is None:
        return None
    today = await today_of(work)
    windows = [DosageWindow(support, phase, since, today) for phase in phases]
    windows = [window for window in windows if window.first <= window.last]
    if not windows:
        return None
    return combine_dosages(since, today, await dosages_of(work, windows))
