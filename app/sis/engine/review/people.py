"""Reviews what a plan would do to known people: new ids, ids of other people, and contradictions of the delivery.

Takes out of the plan what would separate a student from records. Does not change the roster.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.sis.engine.report import Report
from app.sis.engine.review.contradictions import (
    LikelyRekey,
    find_likely_rekeys,
    keep_contradicted,
    keep_out_second_rows,
    set_aside,
)
from app.sis.engine.review.planning import name_all_quarantined
from app.sis.engine.review.reused_ids import combine, find_reused_ids
from app.sis.engine.stage import Stage
from app.sis.guard import GuardResult
from app.sis.port import Delivery


@dataclass(frozen=True, slots=True)
class PeopleReview:
    """The people who likely have another sourcedId, those whose sourcedId is likely another person's, and the number of
    rows that are missing although the delivery names them.
    """

    rekeys: Sequence[LikelyRekey]
    reused: Sequence[LikelyRekey]
    contradicted: int

    @property
    def rekeyed(self) -> int:
        """Returns the number of people who would come back under another sourcedId."""
        return len({pair.old for pair in self.rekeys})


async def review_people(stage: Stage, report: Report, deliveries: Mapping[str, Delivery]) -> PeopleReview:
    """Returns the review of a plan. Keeps rows that the plan would remove against its own delivery."""
    rekeys = await find_likely_rekeys(stage, deliveries)
    contradicted = await keep_contradicted(stage, report, deliveries)
    rekeys = await keep_out_second_rows(stage, rekeys)
    return PeopleReview(rekeys, await find_reused_ids(stage, deliveries), contradicted)


async def set_aside_people(
    stage: Stage,
    review: PeopleReview,
    report: Report,
    deliveries: Mapping[str, Delivery],
    results: Sequence[GuardResult],
) -> list[LikelyRekey]:
    """Takes the people who are set aside out of the plan, and returns all pairs of the review.

    A held plan is kept whole, so that a map of sourcedIds can be made from it. Ids of other people stay out of it all
    the same, unless they are the reason why it is held.
    """
    rekeys, reused = list(review.rekeys), list(review.reused)
    if any(result.held for result in results):
        rekeys = [replace(pair, set_aside=False) for pair in rekeys]
    if any(result.held for result in results if result.rule == "reused"):
        reused = [replace(pair, set_aside=False) for pair in reused]
    pairs = combine(rekeys, reused)
    if any(pair.set_aside for pair in pairs):
        await set_aside(stage, pairs, report.kinds, deliveries)
        await name_all_quarantined(stage, deliveries, report)
    return pairs
