"""Owns judging from end to end, for one series or for all of a district: read, judge, write. Never takes a score."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import monday_of, today_in
from app.playbook.queries import rulebook
from app.response.judging.calibrated import calibrations
from app.response.judging.cohort import Calibrated, Judgement, Key, judge_series
from app.response.judging.load import LoadedSeries, SeriesSelection, load
from app.response.judging.series import MonitoredSeries
from app.response.judging.write import CurrentVerdict, VerdictStep, current_verdicts, write
from app.response.rules.verdict import State
from app.roster.lookup import zone_of

HISTORY = timedelta(weeks=8)
"""A series whose last score is older than this is history: it is judged, and raises no alert."""


@dataclass(frozen=True, slots=True)
class JudgingMode:
    """How to judge.

    `quiet`: a backfill or a change of rules, that raises no alert. `settles`: the Mondays of weeks whose cohort
    is complete. `amended`: scores were changed or taken away, so an alert that stands is looked at again at once.
    `loud`: new rules that are to raise alerts. `backfilled`: the Mondays of weeks of which nothing but backfills has
    come; a series that ends in one is judged quietly.
    """

    quiet: bool = False
    settles: frozenset[date] = frozenset()
    amended: bool = False
    loud: bool = False
    backfilled: frozenset[date] = frozenset()


AS_USUAL = JudgingMode()


@dataclass(frozen=True, slots=True)
class JudgingOutcome:
    """What was judged: the series with their classmates, and how many verdicts were appended."""

    loaded: LoadedSeries
    judged: int
    appended: int


@needs(Can.JUDGE)
async def judge_selected(work: Work, wanted: SeriesSelection, how: JudgingMode = AS_USUAL) -> JudgingOutcome:
    """Judges the wanted series as they stand and writes what differs."""
    loaded = await load(work, wanted, await rulebook(work))
    asked = [one for one in loaded.wanted.values() if _concerns(one, how)]
    if not asked:
        return JudgingOutcome(loaded, 0, 0)
    known = await calibrations(work, {one.line.measure.id for one in asked})
    judged = judge_series(asked, loaded.others({one.line.support_id for one in asked}), known)
    holding = await current_verdicts(work, list(judged))
    undone = _undone(loaded, judged, holding, known, how)
    earlier = {} if how.loud else _by_new_rules(loaded, judged, holding, known)
    since = today_in(await zone_of(work)) - HISTORY
    steps = [
        VerdictStep(
            judged=one,
            holding=holding.get(support_id),
            settled_on=monday if (monday := _last_monday(one.followed)) in how.settles else None,
            quiet=how.quiet or _is_history(one.followed, since) or _last_monday(one.followed) in how.backfilled,
            undone=support_id in undone,
            loud=how.loud,
            earlier=earlier.get(support_id),
        )
        for support_id, one in judged.items()
    ]
    return JudgingOutcome(loaded, len(judged), await write(work, steps))


def _concerns(one: MonitoredSeries, how: JudgingMode) -> bool:
    """A week that is settled concerns the series with a score in it or after it."""
    monday = _last_monday(one)
    return not how.settles or (monday is not None and monday >= min(how.settles))


def _undone(
    loaded: LoadedSeries,
    judged: dict[UUID, Judgement],
    holding: dict[UUID, CurrentVerdict],
    known: dict[Key, Calibrated],
    how: JudgingMode,
) -> set[UUID]:
    """Whose alert stands, and would not be raised if its own week were judged with the scores of today."""
    as_of: dict[UUID, int] = {}
    for support_id, one in judged.items():
        held = holding.get(support_id)
        if held is None or held.alert_week is None or not held.alerting(one.followed.phase.id):
            continue
        if one.verdict.state is State.NOT_RESPONDING:
            continue
        # Another score of the alert's own week does not take it back: that is for when the week is in.
        if how.amended or how.settles or one.week > held.alert_week:
            as_of[support_id] = held.alert_week
    then = _as_of(loaded, as_of, known)
    return {support_id for support_id, one in then.items() if one.verdict.state is not State.NOT_RESPONDING}


def _by_new_rules(
    loaded: LoadedSeries,
    judged: dict[UUID, Judgement],
    holding: dict[UUID, CurrentVerdict],
    known: dict[Key, Calibrated],
) -> dict[UUID, Judgement]:
    """Whose rules have changed: what the new ones would have said when the verdict that holds was made."""
    as_of = {
        support_id: held.verdict.last_week
        for support_id, one in judged.items()
        if (held := holding.get(support_id)) is not None
        and held.verdict.last_week is not None
        and held.by_other_rules(one)
    }
    return _as_of(loaded, as_of, known)


def _as_of(loaded: LoadedSeries, as_of: dict[UUID, int], known: dict[Key, Calibrated]) -> dict[UUID, Judgement]:
    if not as_of:
        return {}
    again = [one for support_id, one in loaded.wanted.items() if support_id in as_of]
    return judge_series(again, loaded.others(as_of.keys()), known, as_of)


def _last_monday(one: MonitoredSeries) -> date | None:
    return None if one.line.last_on is None else monday_of(one.line.last_on)


def _is_history(one: MonitoredSeries, since: date) -> bool:
    return one.line.last_on is not None and one.line.last_on < since
