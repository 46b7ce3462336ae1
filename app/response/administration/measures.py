"""Amends measures. If verdicts depend on the change, the measure's series are judged again.

Earlier verdicts keep the standard error of measurement that they used. The new verdicts raise no alert,
just as after a change of rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from sqlalchemy import and_, exists, false, func, or_, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.inputs import ChangesOf
from app.evidence.models import Score
from app.playbook.measures import service as measures
from app.playbook.measures.instrument import MeasureUse
from app.playbook.models import Measure
from app.response.judging import finalize
from app.support.models import Support, SupportMeasure

AFFECTS_VERDICTS = frozenset({"sem", "sems"})
"""The columns of a measure that affect its verdicts and may be changed although the measure has scores."""


@needs(Can.PUBLISH_PLAYBOOK)
async def amend_measure(
    work: Work, name: str, changes: Annotated[Mapping[str, Any], ChangesOf(measures.NewMeasure)]
) -> Measure:
    """Amends the measure with this code or id; see `playbook.measures.service.amend_measure`.

    If the standard error of measurement changes, the worker judges all series of the measure again. This raises no
    alerts.
    """

    async def use_of(measure: Measure, forms: Sequence[str] | None) -> MeasureUse:
        # The use includes scores of other schools and of secured areas, whatever the caller may see.
        async with work.as_district("amending"):
            return await _load_use(work, measure, forms)

    amended = await measures.amend_measure(work, name, changes, use_of)
    if AFFECTS_VERDICTS & amended.changed:
        async with work.as_district("amending"):
            await finalize.schedule_rules(work, quiet=True, measure_id=amended.measure.id)
    return amended.measure


@needs(Can.JUDGE)
async def _load_use(work: Work, measure: Measure, forms: Sequence[str] | None) -> MeasureUse:
    """Returns how a measure is used. A removed score counts as a use, because it can be restored."""
    is_kept = Score.removed_at.is_(None)
    unlisted = and_(Score.form.is_not(None), Score.form.not_in(forms)) if forms else false()
    has_supports = or_(
        exists().where(Support.district_id == work.district_id, Support.measure_id == measure.id),
        exists().where(SupportMeasure.district_id == work.district_id, SupportMeasure.measure_id == measure.id),
    )
    row = (
        await work.db.execute(
            select(
                func.count() > 0,
                has_supports,
                func.min(Score.value).filter(is_kept),
                func.max(Score.value).filter(is_kept),
                func.count().filter(is_kept, unlisted),
            ).where(Score.district_id == work.district_id, Score.measure_id == measure.id)
        )
    ).one()
    return MeasureUse(used=row[0] or row[1], least=row[2], greatest=row[3], unlisted=row[4])
