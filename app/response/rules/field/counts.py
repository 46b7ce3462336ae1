"""Judges measures that do not grow along a line: counts, percentages and yes/no criteria. Uses no slope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from app.response.rules.series import LEVEL_SCORES, Series
from app.response.rules.verdict import Finding, NonresponseKind, Reason, State
from app.response.rules.wording import count, plain, scores, weeks

HALF, THIRD, QUARTER = 0.5, 1 / 3, 0.25
"""Shares of the way from baseline to goal. Half or more of the way is a response; less than a quarter is no
response.
"""


def criterion(series: Series, parameters: Mapping[str, int]) -> Finding:
    """Judges a measure whose scores must meet the goal (the criterion) a required number of times.

    A student has met the criterion often enough if at least `met` of `minimum` scores in a row meet it. The first case
    that applies gives the state:

    1. The last three scores are far below the goal (a collapse, see `_fallen_below`), and earlier scores met it, either
       often enough or three times in a row: `not_responding` of the kind `stopped`.
    2. The student has met the criterion often enough in the last `minimum` scores: `responding`.
    3. None of the last `minimum` scores meets the criterion, there are at least twice `minimum` scores, and the student
       once met the criterion often enough: `not_responding` of the kind `stopped`.
    4. The same, but at most one earlier score met the criterion: `not_responding` of the kind `never`.
    5. In all other cases: `uncertain`.

    The statistic is the number of the last `minimum` scores that meet the criterion, and the threshold is `met`.

    Source: mastery criteria of single-case practice, in the wording of this project.
    """
    window = parameters["minimum"]
    needed = min(parameters["met"], window)
    line = series.aimline
    hits = [line.better * (value - series.goal) >= -series.slack for value in series.values]
    now, before = sum(hits[-window:]), hits[:-window]
    reason = Reason("criterion", {"met": now, "of": window, "needed": needed})
    number = count(now) if now else "none"
    summary = f"{number} of the last {scores(window)} ({weeks(series.weeks[-window:])}) {_meet(now)} the criterion"
    earlier = hits[:-LEVEL_SCORES]
    is_met_before = _has_run(earlier, window, needed) or _has_run(earlier, LEVEL_SCORES, LEVEL_SCORES)
    if is_met_before and _fallen_below(_parts(series, series.values)) is not None:
        change = series.weeks[max(n for n, hit in enumerate(hits) if hit)]
        sentence = (
            f"The last {scores(LEVEL_SCORES)} ({weeks(series.weeks[-LEVEL_SCORES:])}) are all far from the criterion, "
            f"though it had been met up to week {change}."
        )
        because = (reason, Reason("collapse", {"scores": LEVEL_SCORES}), Reason("change", {"week": change}))
        return Finding(State.NOT_RESPONDING, because, sentence, now, needed, NonresponseKind.STOPPED, change)
    if now >= needed:
        return Finding(State.RESPONDING, (reason,), f"{summary.capitalize()}, as often as it asks for.", now, needed)
    met_before = any(sum(hits[n : n + window]) >= needed for n in range(len(hits) - window))
    if now == 0 and len(hits) >= 2 * window and (met_before or sum(before) <= 1):
        if not met_before:
            return Finding(
                State.NOT_RESPONDING,
                (reason,),
                f"{summary.capitalize()}, and hardly any before.",
                now,
                needed,
                NonresponseKind.NEVER,
            )
        change = series.weeks[max(n for n, hit in enumerate(hits) if hit)]
        reasons = (reason, Reason("change", {"week": change}))
        sentence = f"{summary.capitalize()}, though it had been met up to week {change}."
        return Finding(State.NOT_RESPONDING, reasons, sentence, now, needed, NonresponseKind.STOPPED, change)
    sentence = f"{summary.capitalize()}, where {count(needed)} are needed; that says neither yes nor no yet."
    return Finding(State.UNCERTAIN, (reason,), sentence, now, needed)


def level_change(series: Series, parameters: Mapping[str, int]) -> Finding:
    """Judges how far the student has come from the baseline to the goal.

    The level is the median of three scores. The statistic is the share of the way from the baseline to the goal that
    the student has not covered yet: 1 - (level - baseline) / (goal - baseline), with the level of the last three
    scores. The threshold is .75. The state is:

    * `responding` if the statistic is .5 or less;
    * `below_pace` if the statistic is above .5, up to the threshold;
    * `not_responding` if the statistic is above the threshold for the last three scores and for the three before them;
    * `uncertain` if the statistic is above the threshold for the last three scores only.

    The kind of `not_responding` is `stopped` if the median of any three scores in a row had covered half of the way,
    and otherwise `never`.

    A collapse (see `_fallen_below`) is `not_responding` of the kind `stopped` at once, without waiting for three more
    scores. The threshold is then 1 minus the limit that `_fallen_below` returns.
    """
    del parameters
    values = series.values
    levels = [median(values[n : n + LEVEL_SCORES]) for n in range(len(values) - LEVEL_SCORES + 1)]
    parts = _parts(series, levels)
    now, earlier = parts[-1], parts[-1 - LEVEL_SCORES]
    reason = Reason("level", {"median": levels[-1], "baseline": series.baseline, "goal": series.goal, "part": now})
    threshold = 1 - QUARTER
    summary = (
        f"The median of the last {scores(LEVEL_SCORES)} ({weeks(series.weeks[-LEVEL_SCORES:])}) is "
        f"{plain(levels[-1])}, against {plain(series.baseline)} before the support: {_way(now, series.goal)}"
    )
    of_scores = _parts(series, values)
    limit = _fallen_below(of_scores)
    if limit is not None:
        change = series.weeks[max(n for n, part in enumerate(of_scores) if part >= limit)]
        return Finding(
            State.NOT_RESPONDING,
            (reason, Reason("collapse", {"below": limit}), Reason("change", {"week": change})),
            f"{summary}; up to about week {change} it had been much better.",
            1 - now,
            1 - limit,
            NonresponseKind.STOPPED,
            change,
        )
    if max(now, earlier) >= QUARTER:
        state = State.RESPONDING if now >= HALF else State.BELOW_PACE if now >= QUARTER else State.UNCERTAIN
        return Finding(state, (reason,), f"{summary}.", 1 - now, threshold)
    half_way = [n for n, part in enumerate(parts) if part >= HALF]
    if not half_way:
        return Finding(
            State.NOT_RESPONDING,
            (reason,),
            f"{summary}; half of the way was never covered.",
            1 - now,
            threshold,
            NonresponseKind.NEVER,
        )
    change = series.weeks[half_way[-1] + LEVEL_SCORES - 1]
    return Finding(
        State.NOT_RESPONDING,
        (reason, Reason("change", {"week": change})),
        f"{summary}; about week {change} half of the way had been covered.",
        1 - now,
        threshold,
        NonresponseKind.STOPPED,
        change,
    )


def _parts(series: Series, values: Sequence[float]) -> list[float]:
    """Returns how much of the way from baseline to goal each value covers: 0 at the baseline, 1 at the goal."""
    # Rounded, so that a half is exactly a half in every unit.
    return [round((value - series.baseline) / (series.goal - series.baseline), 9) for value in values]


def _way(part: float, goal: float) -> str:
    """Returns a text that says how much of the way from the baseline to the goal a student has covered.

    `part` is the covered share of this way. It is negative if the student is further from the goal than at the
    baseline.
    """
    if part < 0:
        return f"further from the goal of {plain(goal)} than then"
    return f"{plain(100 * part, 0)} % of the way to {plain(goal)}"


def _fallen_below(parts: Sequence[float]) -> float | None:
    """Returns the limit below which the last three scores have collapsed, or None if there is no collapse.

    `parts` has, for each score, how much of the way from baseline to goal it covers: 0 at the baseline, 1 at the goal,
    more beyond the goal. There is a collapse if:

    1. at some earlier time, three scores in a row had a median of .5 or more, and
    2. each of the last three scores is below the limit.

    The limit is a third of the median of all scores up to the last one that was .5 or more. It is at least .25 and at
    most .5.
    """
    medians = [median(parts[n : n + LEVEL_SCORES]) for n in range(len(parts) - 2 * LEVEL_SCORES + 1)]
    if max(medians, default=0.0) < HALF or max(parts[-LEVEL_SCORES:]) >= HALF:
        return None
    before = parts[: max(n for n, part in enumerate(parts) if part >= HALF) + 1]
    limit = min(max(QUARTER, median(before) * THIRD), HALF)
    return limit if max(parts[-LEVEL_SCORES:]) < limit else None


def _has_run(hits: Sequence[bool], window: int, needed: int) -> bool:
    """Returns whether the series has `window` scores in a row of which at least `needed` meet the criterion."""
    return any(sum(hits[n : n + window]) >= needed for n in range(len(hits)))


def _meet(number: int) -> str:
    return "meets" if number == 1 else "meet"
