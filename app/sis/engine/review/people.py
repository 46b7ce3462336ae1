"""Reviews what a plan would do to known people, and does not change the roster.

It finds people who get a new sourcedId, people whose sourcedId is given to somebody else, and removals of people to
whom the same delivery still refers. Then it deletes from the plan the changes that would separate a student from the
student's records.
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
    """What a review of the planned changes of people has found.

    * `rekeys`: the people who likely have a new sourcedId.
    * `reused`: the people whose sourcedId likely belongs to another person now.
    * `contradicted`: the number of rows that are missing from the delivery although other rows in it refer to them.
    """

    rekeys: Sequence[LikelyRekey]
    reused: Sequence[LikelyRekey]
    contradicted: int

    @property
    def rekeyed(self) -> int:
        """Returns the number of people whom the plan would remove and create again under another sourcedId."""
        return len({pair.old for pair in self.rekeys})


async def review_people(stage: Stage, report: Report, deliveries: Mapping[str, Delivery]) -> PeopleReview:
    """Reviews the planned changes of people, and returns the result.

    Also cancels the removal of rows to which the delivery still refers.
    """
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
    """Deletes from the plan all changes about people whose `set_aside` is true. Returns all people of the review.

    `results` say whether the plan exceeds limits, so that it is held for a person to review. In a held plan:

    * People who likely have a new sourcedId are not set aside. The reviewer may make a map of old to new sourcedIds
      from the plan.
    * People whose sourcedId the delivery gives to somebody else are set aside, unless the plan is held because of them.
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
