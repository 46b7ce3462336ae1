"""Judges the series of one support or of a whole district: loads the series, judges them, and writes the verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import monday_of
from app.response.judging.cohort import Judgement, judge_series
from app.response.judging.load import LoadedSeries, SeriesSelection, compute, load
from app.response.judging.series import MonitoredSeries
from app.response.judging.state import CurrentVerdict
from app.response.judging.write import VerdictStep, write
from app.response.rules.verdict import ALARMS
from app.roster.lookup import today_of

HISTORY = timedelta(weeks=8)
"""A series whose last score is older than this is history: it is judged but raises no alert."""


@dataclass(frozen=True, slots=True)
class JudgingMode:
    """The circumstances of judging, which decide which alerts may be raised.

    * `quiet`: the judging results from a backfill or a change of rules, and raises no alert.
    * `finalizes`: the Mondays of the weeks whose verdicts become final, because the cohorts' weeks are complete.
    * `amended`: scores were changed or removed, so active alerts are checked again at once.
    * `raise_alerts`: the judging results from new rules that are to raise alerts.
    * `by_rules`: the judging results from new rules. A series keeps its verdict if its goal date has passed.
    * `backfilled`: the Mondays of weeks in which all scores come from backfills. A series whose last score is in such a
      week is judged quietly.
    """

    quiet: bool = False
    finalizes: frozenset[date] = frozenset()
    amended: bool = False
    raise_alerts: bool = False
    by_rules: bool = False
    backfilled: frozenset[date] = frozenset()


DEFAULT_MODE = JudgingMode()


@dataclass(frozen=True, slots=True)
class JudgingOutcome:
    """The result of judging: the loaded series, the number of judged series, and the number of new verdicts."""

    loaded: LoadedSeries
    judged: int
    appended: int


@needs(Can.JUDGE)
async def judge_selected(
    work: Work,
    selection: SeriesSelection,
    mode: JudgingMode = DEFAULT_MODE,
    written: Mapping[UUID, date] | None = None,
) -> JudgingOutcome:
    """Judges the selected series with the scores recorded so far. Writes the verdicts that differ from those in force.

    `written` has, for each student with newly recorded scores, the day of the last of these scores. The days are stored
    together with the verdicts.
    """
    loaded = await load(work, selection)
    requested = [monitored for monitored in loaded.requested.values() if _is_concerned(monitored, mode)]
    if not requested:
        return JudgingOutcome(loaded, 0, await write(work, [], written))
    others = loaded.others({monitored.score_series.series_id for monitored in requested})
    judgements = await compute(loaded.size, judge_series, requested, others, loaded.calibrated)
    current, today = loaded.current, await today_of(work)
    judgements = {
        series_id: judgement
        for series_id, judgement in judgements.items()
        if not _has_last_verdict(judgement, current.get(series_id), mode, today)
    }
    retractable = await compute(loaded.size, _find_retractable, loaded, judgements, mode)
    retractable = await _drop_justified(work, loaded, retractable)
    earlier = {} if mode.raise_alerts else await compute(loaded.size, _judge_earlier_by_new_rules, loaded, judgements)
    history_until = today - HISTORY
    steps = [
        VerdictStep(
            judgement=judgement,
            current=current.get(series_id),
            state=loaded.states.get(judgement.monitored.support.id),
            settled_on=monday if (monday := _last_monday(judgement.monitored)) in mode.finalizes else None,
            quiet=mode.quiet
            or _is_history(judgement.monitored, history_until)
            or _last_monday(judgement.monitored) in mode.backfilled,
            retractable=series_id in retractable,
            raise_alerts=mode.raise_alerts,
            earlier=earlier.get(series_id),
        )
        for series_id, judgement in judgements.items()
    ]
    return JudgingOutcome(loaded, len(judgements), await write(work, steps, written, loaded.size))


def _is_concerned(monitored: MonitoredSeries, mode: JudgingMode) -> bool:
    """Returns whether a series is to be judged in this mode.

    If the mode makes verdicts of some weeks final, a series is judged only if its last score is in the earliest of
    these weeks or later.
    """
    monday = _last_monday(monitored)
    return not mode.finalizes or (monday is not None and monday >= min(mode.finalizes))


def _has_last_verdict(judgement: Judgement, current: CurrentVerdict | None, mode: JudgingMode, today: date) -> bool:
    """Returns whether the verdict in force is the last one that its phase can get.

    Once the goal date has passed, only a change of the scores up to that date leads to another verdict. A change of
    rules does not.
    """
    goal_on = judgement.monitored.score_series.goal_on
    if current is None or goal_on is None or goal_on >= today:
        return False
    if current.verdict.phase_id != judgement.monitored.phase.id:
        return False
    if mode.by_rules:
        return True
    return not mode.amended and current.verdict.score_ids == list(judgement.verdict.scores)


def _find_retractable(loaded: LoadedSeries, judgements: dict[UUID, Judgement], mode: JudgingMode) -> set[UUID]:
    """Returns the ids of the series whose active alert would not be raised with the scores that exist today.

    To find them, the week in which the alert was raised is judged again.
    """
    as_of: dict[UUID, int] = {}
    for series_id, judgement in judgements.items():
        alerted = loaded.states.get(judgement.monitored.support.id)
        if alerted is None or alerted.alert_week is None or not alerted.alerting(judgement.monitored.phase.id):
            continue
        if judgement.verdict.state in ALARMS:
            continue
        if alerted.alert_measure_id != judgement.monitored.score_series.measure.id:
            continue
        # More scores in the alert's own week do not retract it before that week is complete.
        if mode.amended or mode.finalizes or judgement.week > alerted.alert_week:
            as_of[series_id] = alerted.alert_week
    judgements_then = _judge_as_of(loaded, as_of)
    return {series_id for series_id, judgement in judgements_then.items() if judgement.verdict.state not in ALARMS}


@needs(Can.JUDGE)
async def _drop_justified(work: Work, loaded: LoadedSeries, retractable: set[UUID]) -> set[UUID]:
    """Returns the series of `retractable` whose alert is not justified by another measure of the same support.

    Another measure justifies the alert if that measure was off track in the week of the alert. To find out, the
    function loads all measures of each support that has several measures.
    """
    openers = {
        monitored.support.id: monitored
        for series_id in retractable
        if (monitored := loaded.requested[series_id]).measures > 1
    }
    if not openers:
        return retractable
    every = await load(work, SeriesSelection(support_ids=list(openers)))
    as_of: dict[UUID, int] = {}
    for series_id, monitored in every.requested.items():
        week, opener = loaded.states[monitored.support.id].alert_week, openers[monitored.support.id]
        week_of_measure = (week or 0) + opener.offset - monitored.offset
        if monitored.score_series.series_id != opener.score_series.series_id and week_of_measure > 0:
            as_of[series_id] = week_of_measure
    justified = {
        judgement.monitored.support.id
        for judgement in _judge_as_of(every, as_of).values()
        if judgement.verdict.state in ALARMS
    }
    return {series_id for series_id in retractable if loaded.requested[series_id].support.id not in justified}


def _judge_earlier_by_new_rules(loaded: LoadedSeries, judgements: dict[UUID, Judgement]) -> dict[UUID, Judgement]:
    """Judges series a second time if their current verdicts were made by earlier rules.

    They are judged by the new rules, as of the week of the current verdict. `judgements` has the judgements of the
    latest week by the new rules, keyed by series; they are not written yet. Returns the additional judgements, keyed by
    series.
    """
    as_of = {
        series_id: previous.verdict.last_week
        for series_id, judgement in judgements.items()
        if (previous := loaded.current.get(series_id)) is not None
        and previous.verdict.last_week is not None
        and _is_by_other_rules(previous, judgement)
    }
    return _judge_as_of(loaded, as_of)


def _is_by_other_rules(previous: CurrentVerdict, judgement: Judgement) -> bool:
    """Returns whether the current verdict on a phase was made by rules that differ from those of the new judgement.

    The result is False if the judgement is about another phase. The rules differ if at least one of these differs: the
    rule, its version, its parameters, the calibration, the standard error of measurement (SEM), and the number of
    measures among which the false-alarm rate is divided.
    """
    current, verdict = previous.verdict, judgement.verdict
    earlier_rules = (current.rule, current.rule_version, current.parameters, current.calibration_id, current.sem)
    sem = judgement.monitored.score_series.sem
    new_rules = (verdict.rule, verdict.rule_version, dict(verdict.parameters), judgement.calibration_id, sem)
    is_same = earlier_rules == new_rules and current.measures == judgement.monitored.measures
    return current.phase_id == judgement.monitored.phase.id and not is_same


def _judge_as_of(loaded: LoadedSeries, as_of: dict[UUID, int]) -> dict[UUID, Judgement]:
    if not as_of:
        return {}
    requested = [monitored for series_id, monitored in loaded.requested.items() if series_id in as_of]
    return judge_series(requested, loaded.others(as_of.keys()), loaded.calibrated, as_of)


def _last_monday(monitored: MonitoredSeries) -> date | None:
    return None if monitored.score_series.last_on is None else monday_of(monitored.score_series.last_on)


def _is_history(monitored: MonitoredSeries, history_until: date) -> bool:
    return monitored.score_series.last_on is not None and monitored.score_series.last_on < history_until
