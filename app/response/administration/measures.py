"""Owns how a measure is amended: what rests on it is weighed, and what verdicts rest on is judged by anew.

Verdicts that were made keep the standard error of measurement that they rested on; new ones raise no alert by
themselves, as with new rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import and_, exists, false, func, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.evidence.models import Score
from app.playbook import measures
from app.playbook.instrument import MeasureUse
from app.playbook.models import Measure
from app.response.judging import finalize
from app.support.models import Support

JUDGED_BY = frozenset({"sem"})
"""What verdicts rest on, of that which may change while there are scores."""


@needs(Can.PUBLISH_PLAYBOOK)
async def amend_measure(work: Work, name: str, changes: Mapping[str, Any]) -> Measure:
    """Amends the measure of this code or id as `playbook.measures.amend_measure` does.

    With another standard error of measurement its series are judged again by the worker, quietly.
    """

    async def use_of(measure: Measure, forms: Sequence[str] | None) -> MeasureUse:
        # Scores of other schools and of secured areas count as well.
        async with work.as_district("amending"):
            return await _load_use(work, measure, forms)

    amended = await measures.amend_measure(work, name, changes, use_of)
    if JUDGED_BY & amended.changed:
        async with work.as_district("amending"):
            await finalize.schedule_rules(work, quiet=True, measure_id=amended.measure.id)
    return amended.measure


@needs(Can.JUDGE)
async def _load_use(work: Work, measure: Measure, forms: Sequence[str] | None) -> MeasureUse:
    """What rests on a measure. A score that was removed may come back, and counts as use."""
    kept = Score.removed_at.is_(None)
    unlisted = and_(Score.form.is_not(None), Score.form.not_in(forms)) if forms else false()
    supported = exists().where(Support.district_id == work.district_id, Support.measure_id == measure.id)
    row = (
        await work.db.execute(
            select(
                func.count() > 0,
                supported,
                func.min(Score.value).filter(kept),
                func.max(Score.value).filter(kept),
                func.count().filter(kept, unlisted),
            ).where(Score.district_id == work.district_id, Score.measure_id == measure.id)
        )
    ).one()
    return MeasureUse(used=row[0] or row[1], least=row[2], greatest=row[3], unlisted=row[4])
