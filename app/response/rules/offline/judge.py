"""Judges the series of a cohort by any rule. Each series comes from one line of JSON. Reads and writes no files.

A series is judged as of its last week, or as of each of its weeks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from app.response.rules.choose import RULES
from app.response.rules.completion import complete
from app.response.rules.delivery import allow_for_delivery
from app.response.rules.field.trend import slope
from app.response.rules.monitor.bulk import Batch
from app.response.rules.monitor.calibration import PUBLISHED, Calibration
from app.response.rules.monitor.forms import MIN_COHORT
from app.response.rules.monitor.model import Array
from app.response.rules.monitor.panel import Panel, judge_weeks
from app.response.rules.monitor.rule import DEFAULT_FAR, MAX_WEEKS, Facts, conclude, probes
from app.response.rules.offline.line import GOAL_WEEK, OfflineSeries
from app.response.rules.offline.margin import at_rate
from app.response.rules.rule import DecisionRule
from app.response.rules.series import LEVEL_SCORES, Series
from app.response.rules.verdict import Finding, Reason, State, maybe_rounded
from app.response.rules.wording import CANNOT, label, needs_more_than_scores, remove_unjustified_name

NO_WEEK = Finding(
    State.INSUFFICIENT_DATA,
    (Reason("no_instructional_week", {}),),
    "Every score so far is from the week in which the phase began.",
)
"""The finding for a phase whose scores, however many, are all from the week in which the phase began."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options for judging series offline: the rule and its settings.

    `far` is the false-alarm rate. If it is None, the monitor uses the rate .10, and any other rule uses its own limit.
    """

    rule: str = "monitor"
    far: float | None = None
    every_week: bool = False
    adjust: bool = True
    adaptive: bool = False
    calibration: Calibration = PUBLISHED


def judge_cohort(lines: Sequence[OfflineSeries], options: Options) -> Iterator[dict[str, Any]]:
    """Yields the results for the series of one cohort, in the order of `lines`, which are parsed lines of input.

    With the option `every_week`, there is a result for every week of each series. A result as of a week depends only on
    what was known about the cohort at the end of that week.
    """
    weeks = {line.last_week for line in lines}
    if options.every_week:
        weeks = set(range(1, max(weeks, default=0) + 1)) | weeks
    lines_by_week = {
        week: [n for n, line in enumerate(lines) if week == line.last_week or _is_requested(line, week, options)]
        for week in sorted(weeks)
    }
    findings_by_week = (_find_by_monitor if options.rule == "monitor" else _find_by_rule)(lines, lines_by_week, options)
    for n, line in enumerate(lines):
        for week, findings in findings_by_week.items():
            if n in findings:
                yield _answer(line, week, findings[n], options)


def _is_requested(line: OfflineSeries, week: int, options: Options) -> bool:
    return options.every_week and 1 <= week < line.last_week


LinesByWeek = dict[int, list[int]]
"""The indices of the series to judge as of each week, keyed by week. The weeks are in order."""

FindingsByWeek = dict[int, dict[int, Finding]]
"""The findings, keyed by week and then by the index of the series."""


def _find_by_rule(lines: Sequence[OfflineSeries], lines_by_week: LinesByWeek, options: Options) -> FindingsByWeek:
    rule, findings = RULES[options.rule], {week: dict[int, Finding]() for week in lines_by_week}
    for week, chosen in lines_by_week.items():
        for n in chosen:
            series = lines[n].upto(week).series()
            finding = _judge_by_rule(rule, options.far, series)
            judge_again = partial(_judge_by_rule, rule, options.far)
            findings[week][n] = allow_for_delivery(series, finding, judge_again, rule.judges_growth)
    if not rule.judges_growth:
        return _complete(lines, findings)
    estimated = _estimate_by_monitor(lines, lines_by_week, replace(options, far=None))
    for week, findings_of_week in findings.items():
        for n, finding in findings_of_week.items():
            findings_of_week[n] = remove_unjustified_name(finding, estimated[week][n].shares)
    return _complete(lines, findings, estimated)


def _find_by_monitor(lines: Sequence[OfflineSeries], lines_by_week: LinesByWeek, options: Options) -> FindingsByWeek:
    """Returns the monitor's findings for the cohort as of each week."""
    findings = _estimate_by_monitor(lines, lines_by_week, options)
    return _complete(lines, findings, findings)


def _complete(
    lines: Sequence[OfflineSeries], findings: FindingsByWeek, estimated: FindingsByWeek | None = None
) -> FindingsByWeek:
    """Returns the findings, with what all rules have in common (`complete`).

    `estimated` has the monitor's findings, which have the probabilities of growth. It is None for a rule that does not
    judge growth.
    """
    completed: FindingsByWeek = {}
    for week, findings_of_week in findings.items():
        completed[week] = {}
        for n, finding in findings_of_week.items():
            shares = None if estimated is None else estimated[week][n].shares
            completed[week][n] = replace(complete(lines[n].upto(week).series(), finding, shares), shares=shares)
    return completed


def _judge_by_rule(rule: DecisionRule, far: float | None, series: Series) -> Finding:
    finding = rule.finding(series, rule.defaults)
    return finding if far is None else at_rate(rule.name, series, finding, far)


def _estimate_by_monitor(
    lines: Sequence[OfflineSeries], lines_by_week: LinesByWeek, options: Options
) -> FindingsByWeek:
    """Returns what the monitor concludes from the scores alone, for the cohort as of each week.

    Series with different standard errors of measurement or directions are treated as series of different measures.
    """
    rule, far, own = RULES["monitor"], DEFAULT_FAR if options.far is None else options.far, options.calibration
    groups: dict[tuple[float, str], list[int]] = {}
    for n, line in enumerate(lines):
        if line.sem is not None:
            groups.setdefault((line.sem, line.direction), []).append(n)
    lines_as_known = {week: {n: lines[n].upto(week) for n in chosen} for week, chosen in lines_by_week.items()}
    too_few = {
        week: {n for n, line in lines_of_week.items() if line.sem is None or len(line.scores) < LEVEL_SCORES}
        for week, lines_of_week in lines_as_known.items()
    }
    findings = {
        week: {n: rule.finding(lines_as_known[week][n].series(), rule.defaults) for n in too_few[week]}
        for week in lines_by_week
    }
    for (sem, _), members in groups.items():
        weeks = [
            week
            for week, chosen in lines_by_week.items()
            if any(n in members for n in chosen if n not in too_few[week])
        ]
        panel = _panel([lines[n] for n in members], sem * own.noise)
        # No form was shared by enough series, so no form's difficulty was estimated.
        shared = panel.times[((~np.isnan(panel.values)).sum(axis=1) >= MIN_COHORT) & (panel.times > 0)]
        since = int(shared.min(initial=MAX_WEEKS + 1))
        for week, judged in zip(weeks, judge_weeks(panel, own.prior, weeks, adjust=options.adjust), strict=True):
            for student, n in enumerate(members):
                if n not in lines_as_known[week] or n in too_few[week]:
                    continue
                line = lines_as_known[week][n]
                adjusted = options.adjust and week >= since
                facts = Facts(
                    line.goal_rate,
                    line.direction,
                    week,
                    len(line.scores),
                    line.dosage,
                    adjusted=adjusted,
                )
                findings[week][n] = conclude(judged, student, facts, far, own, adaptive=options.adaptive)
    return findings


def _panel(lines: Sequence[OfflineSeries], sem: float) -> Panel:
    """Returns the series of one cohort as a panel. Its slots are common to all series.

    A slot is one form (version of a test) in one week. If several scores of the same week state no form, they are
    assumed to be of the same form.
    """
    better = 1.0 if lines[0].goal_rate > 0 else -1.0
    zero = float(np.median([value for line in lines for value in line.baseline]))
    cells: list[dict[tuple[int, int, str, int], float]] = []
    for line in lines:
        cells_of_line: dict[tuple[int, int, str, int], float] = {}
        for n, value in enumerate(line.baseline):
            cells_of_line[(0, 0, "", n)] = value
        for score in line.scores:
            attempt = 0
            while (score.week, 1, score.form or "", attempt) in cells_of_line:
                attempt += 1
            cells_of_line[(score.week, 1, score.form or "", attempt)] = score.value
        cells.append(cells_of_line)
    slots = sorted({slot for cells_of_line in cells for slot in cells_of_line})
    row_by_slot = {slot: n for n, slot in enumerate(slots)}
    values = np.full((len(slots), len(lines)), np.nan)
    for student, cells_of_line in enumerate(cells):
        for slot, value in cells_of_line.items():
            values[row_by_slot[slot], student] = better * (value - zero) / sem
    g = np.array([abs(line.goal_rate) / sem for line in lines])
    times = np.array([slot[0] for slot in slots])
    return Panel(times, values, g, np.zeros(len(lines), np.int64), np.ones(len(slots)), delivered=_delivered(lines))


def _delivered(lines: Sequence[OfflineSeries]) -> Array | None:
    """Returns the share of the planned dose that was delivered, as an array with the axes week and series.

    The first week is week 1. Returns None if no series states its minutes.
    """
    if all(line.dosage is None for line in lines):
        return None
    weeks = max(line.last_week for line in lines)
    shares = [line.dosage.weekly_shares(weeks) if line.dosage else (1.0,) * weeks for line in lines]
    return np.array(shares).reshape(len(lines), weeks).T


def batch_of(lines: Sequence[OfflineSeries]) -> Batch:
    """Converts series into a batch for calibration.

    If a series has several scores in a week, the batch has only the first of them. A series without a cohort becomes a
    cohort of its own.
    """
    weeks = np.arange(1, max((line.last_week for line in lines), default=1) + 1)
    values = np.full((len(lines), len(weeks)), np.nan)
    names: dict[tuple[str | None, int, float | None, str], int] = {}
    cohort = np.zeros(len(lines), np.int64)
    for n, line in enumerate(lines):
        for score in reversed(line.scores):
            if score.week:
                values[n, score.week - 1] = score.value
        alone = n if line.cohort is None else -1
        cohort[n] = names.setdefault((line.cohort, alone, line.sem, line.direction), len(names))
    rate = np.array([line.goal_rate for line in lines], float)
    base = np.array([float(np.median(line.baseline)) for line in lines])
    sem = np.array([math.nan if line.sem is None else line.sem for line in lines], float)
    return Batch(weeks, values, base, rate, base + rate * GOAL_WEEK, sem, np.zeros(len(lines), np.int64), cohort)


def _answer(line: OfflineSeries, week: int, finding: Finding, options: Options) -> dict[str, Any]:
    scores = [score for score in line.scores if score.week <= week]
    if finding.state is not State.INSUFFICIENT_DATA and not any(score.week for score in scores):
        finding = NO_WEEK
    rate = finding.rate
    if rate is None and RULES[options.rule].judges_growth and len(scores) >= LEVEL_SCORES:
        rate = slope([score.week for score in scores], [score.value for score in scores])
    on_pace = finding.shares.on_pace if finding.shares else None
    answer: dict[str, Any] = {
        "id": line.id,
        "week": week,
        "state": finding.state.value,
        "kind": finding.kind.value if finding.kind else None,
        "label": CANNOT
        if needs_more_than_scores(finding.state, finding.because)
        else label(finding.state, finding.kind, on_pace, line.direction if RULES[options.rule].judges_growth else None),
        "slow": finding.shares.slow if finding.shares else None,
        "short": finding.shares.short if finding.shares else None,
        "on_pace": on_pace,
        "statistic": maybe_rounded(finding.statistic),
        "threshold": maybe_rounded(finding.threshold),
        "rate": maybe_rounded(rate),
        "rate_low": maybe_rounded(finding.rate_low),
        "rate_high": maybe_rounded(finding.rate_high),
        "change_week": finding.change_week,
        "because": finding.sentence,
        "reasons": [reason.as_json() for reason in finding.because],
        "odds": maybe_rounded(finding.odds),
        "rule": options.rule,
        "rule_version": RULES[options.rule].version,
    }
    if options.adaptive:
        # Only the monitor can estimate how close a verdict is; the rules that schools use request one score a week.
        answer["probe"] = probes(finding) if options.rule == "monitor" else 1
    return answer
