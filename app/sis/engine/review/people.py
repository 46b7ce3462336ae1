"""Reviews what a plan would do to known people: new sourcedIds, reused sourcedIds, and contradictory removals.

Removes from the plan the changes that would separate a student from the student's records. Does not change the roster.
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
    """The result of a review.

    * `rekeys`: the people who likely have a new sourcedId.
    * `reused`: the people whose sourcedId likely belongs to another person now.
    * `contradicted`: the number of rows that are missing from the delivery although other rows in it refer to them.
    """

    rekeys: Sequence[LikelyRekey]
    reused: Sequence[LikelyRekey]
    contradicted: int

    @property
    def rekeyed(self) -> int:
        """Returns the number of people who would come back under another sourcedId."""
        return len({pair.old for pair in self.rekeys})


async def review_people(stage: Stage, report: Report, deliveries: Mapping[str, Delivery]) -> PeopleReview:
    """Returns the review of a plan. Cancels the removal of rows to which the delivery still refers."""
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
    """Removes from the plan all changes about people whom the review sets aside. Returns all pairs of the review.

    If the plan is held, likely re-keys are not set aside, so that a map of sourcedIds can be made from the plan. Reused
    sourcedIds are set aside in a held plan too, unless they are the reason why the plan is held.
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
