"""Owns how a series comes to its verdict: reads what the rule needs, and hands it to the pure rules. Writes nothing."""

from dataclasses import dataclass
from datetime import date

from app.access.work import Work
from app.evidence.models import Score
from app.evidence.queries import series
from app.playbook.lookup import measure_by_id
from app.playbook.queries import ChosenRule, rule_for
from app.response.rules.choose import judge
from app.response.rules.series import Observation, Series
from app.response.rules.verdict import Verdict
from app.roster.calendar import Weeks, school_weeks, weeks_between
from app.support.models import Phase, Support


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict with the playbook version under which it was made."""

    verdict: Verdict
    chosen: ChosenRule


async def judge_phase(work: Work, support: Support, phase: Phase) -> Judged:
    """The verdict of the district's rule on a phase as it stands. Raises `UnjudgeableSeries`."""
    measure = await measure_by_id(work, support.measure_id)
    chosen = await rule_for(work, measure.code)
    scores = await series(work, support.student_id, support.measure_id, phase.begins_on, phase.ends_on)
    until = max([phase.goal_on, *(score.taken_on for score in scores)])
    weeks = await school_weeks(work, support.school_ids, phase.begins_on, until)
    verdict = judge(
        chosen.rule,
        Series(
            observations=_observations(scores, weeks, phase.begins_on),
            baseline=phase.baseline,
            goal=phase.goal,
            # A goal within the first instructional week counts as one week away.
            goal_week=max(weeks_between(weeks, phase.begins_on, phase.goal_on), 1),
            direction="down" if measure.direction == "down" else "up",
            sem=measure.sem or None,
        ),
        chosen.parameters,
    )
    return Judged(verdict, chosen)


def _observations(scores: list[Score], weeks: Weeks, begins_on: date) -> tuple[Observation, ...]:
    return tuple(
        Observation(weeks_between(weeks, begins_on, score.taken_on), score.value, str(score.id)) for score in scores
    )
