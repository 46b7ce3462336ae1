"""Judges a series by the side of the aimline on which its last k scores lie (the k-point rule).

How far the scores are from the aimline makes no difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.response.rules.series import Series
from app.response.rules.verdict import Finding, NonresponseKind, Reason, State
from app.response.rules.wording import HIGHER_GOAL, NO_CHANGE, count, growth, scores, weeks

# The minimum number of earlier scores from which a verdict can say that growth had kept pace.
EARLIER_SCORES = 3


def last_run(sides: Sequence[int], on_side: int) -> int:
    """Returns how many scores at the end of a series, in a row, are on the side `on_side`.

    The sides are -1 (worse than the line), +1 (better) and 0 (on the line).
    """
    run = 0
    for side in reversed(sides):
        if side != on_side:
            break
        run += 1
    return run


def judge_by_k_point(series: Series, parameters: Mapping[str, int]) -> Finding:
    """Judges a series by whether its last k scores are better or worse than the aimline.

    * All k scores are worse than the line: `not_responding`.
    * All k scores are better than the line: `responding`, and a higher goal is suggested.
    * In all other cases: `responding`, because the published rule then says to continue.

    Each score counts, also if there are several in a week. A score on the line is on neither side. The statistic is the
    number of scores in a row, at the end, that are worse than the line. The threshold is k.

    With k = 4, a student who truly grows along the aimline is still flagged within 15 weekly scores with probability
    12199/32768, if the errors are independent and symmetric, however large they are. If the aimline begins at a
    baseline that was itself measured with three scores, this probability is about .43.

    Source: the data-point rule of curriculum-based measurement, reviewed by Ardoin, Christ, Morena, Cormier and
    Klingbeil (2013).
    """
    k = parameters["k"]
    sides = series.sides()
    behind, ahead = last_run(sides, -1), last_run(sides, 1)
    if behind >= k:
        return _not_responding(series, sides, behind, k)
    if ahead >= k:
        reasons = (
            Reason("better_than_aimline", {"scores": ahead, **_window(series, ahead)}),
            Reason("suggest_higher_goal", {"scores": ahead}),
        )
        sentence = f"{_last_scores(series, ahead)} all lie {_side_name(series, 1)} the aimline, {HIGHER_GOAL}."
        return Finding(State.RESPONDING, reasons, sentence, behind, k)
    return _both_sides(series, sides, behind, k)


def _not_responding(series: Series, sides: Sequence[int], run: int, k: int) -> Finding:
    """Returns a finding `not_responding`, with its kind and the week of the change.

    `sides` has the side of the aimline on which each score is: +1 better, 0 on the line, -1 worse. `run` is the number
    of scores at the end that are all worse; `k` is the number that the rule requires.

    * The kind is `stopped` if there are at least three scores before the run, and at least half of them are on the
      aimline or better. The week of the change is the week of the first score of the run.
    * Otherwise the kind is `never`.

    The week of the change is when the scores fell behind the aimline. Growth may have slowed earlier: a student who was
    well ahead needs some weeks to fall behind. The kind `stopped` can be wrong: if a student never grew, early scores
    can be above the aimline because of noise or a low baseline.
    """
    earlier = sides[:-run]
    kept_pace = sum(1 for side in earlier if side >= 0)
    stopped = len(earlier) >= EARLIER_SCORES and 2 * kept_pace >= len(earlier)
    reasons = [
        Reason("worse_than_aimline", {"scores": run, **_window(series, run)}),
        Reason("earlier_scores", {"scores": len(earlier), "kept_pace": kept_pace}),
    ]
    if not earlier:
        sentence = (
            f"All {scores(run)} of this phase ({weeks(series.weeks)}) lie {_side_name(series, -1)} the aimline, "
            "so none of them has kept pace with it."
        )
        return Finding(State.NOT_RESPONDING, tuple(reasons), sentence, run, k, NonresponseKind.NEVER)
    sentence = f"{_last_scores(series, run)} all lie {_side_name(series, -1)} the aimline; "
    before = f"{count(kept_pace)} of {scores(len(earlier))} kept pace"
    if not stopped:
        sentence += f"before them {before}, too few to say that {growth(series.direction)} once did."
        return Finding(State.NOT_RESPONDING, tuple(reasons), sentence, run, k, NonresponseKind.NEVER)
    change = series.weeks[-run]
    reasons.append(Reason("change", {"week": change}))
    sentence += f"up to week {series.weeks[-run - 1]}, {before} with it, so the scores fell behind about week {change}."
    return Finding(State.NOT_RESPONDING, tuple(reasons), sentence, run, k, NonresponseKind.STOPPED, change)


def _both_sides(series: Series, sides: Sequence[int], run: int, k: int) -> Finding:
    last = sides[-k:]
    better, on, worse = last.count(1), last.count(0), last.count(-1)
    reason = Reason("mixed", {"better": better, "on": on, "worse": worse, **_window(series, k)})
    places = ((better, _side_name(series, 1)), (on, "on"), (worse, _side_name(series, -1)))
    first, *others = [f"{count(number)} {place}" for number, place in places if number]
    places_text = f"{first} the aimline" + "".join(f" and {other} it" for other in others)
    sentence = f"The last {scores(k)} ({weeks(series.weeks[-k:])}) lie {places_text}, {NO_CHANGE}."
    return Finding(State.RESPONDING, (reason,), sentence, run, k)


def _last_scores(series: Series, run: int) -> str:
    return f"The last {scores(run)} ({weeks(series.weeks[-run:])})"


def _side_name(series: Series, side: int) -> str:
    """Returns the position of a side (+1 better, -1 worse) in a chart: "above" or "below" the aimline."""
    return "above" if side * series.aimline.better > 0 else "below"


def _window(series: Series, run: int) -> dict[str, float]:
    return {"first_week": series.weeks[-run], "last_week": series.weeks[-1]}


def excess(series: Series, finding: Finding, sem: float) -> float:
    """Returns by how much the series fails the rule: the smallest of the last k distances from the aimline.

    The result is in standard errors of measurement. The distance of a score is positive if the score is worse than the
    aimline, and negative if it is better. So the result is positive only if all k scores are worse.
    """
    line, k = series.aimline, int(finding.threshold or 0)
    last = zip(series.weeks[-k:], series.values[-k:], strict=True)
    return min(line.better * (line.at(week) - value) / sem for week, value in last)
