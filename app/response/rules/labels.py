"""Decides whether the shares of growth justify the name "not responding", and gives each verdict its short label.
Pure.
"""

from __future__ import annotations

from dataclasses import replace

from app.response.rules.verdict import Finding, NonresponseKind, Shares, State

NAMED = 0.52
"""The share of slow growth from which an alarm is called not responding.

The limit is above one half, because a share is overestimated in the first week in which it passes a limit. In the
benchmark, .60 of the students who are called not responding truly grow under half of the required rate
(docs/response.md).
"""

LABELS = {
    State.INSUFFICIENT_DATA: "Too few scores",
    State.BELOW_PACE: "Growing, below pace",
    State.GOAL_MET: "Goal met",
    State.UNCERTAIN: "Not clear yet",
    State.OFF_TRACK: "Off track",
    State.UNDER_DELIVERED: "Not delivered as planned",
}


def justifies_name(shares: Shares | None) -> bool:
    """Returns whether growth is more likely than not under half of the required rate, according to the shares.

    If so, an alarm is named "not responding".
    """
    return shares is not None and shares.slow >= NAMED


def remove_unjustified_name(finding: Finding, shares: Shares | None) -> Finding:
    """Returns the finding of a rule for growth. `not_responding` becomes `off_track` if the shares do not justify this
    name.
    """
    if finding.state is not State.NOT_RESPONDING or justifies_name(shares):
        return finding
    return replace(finding, state=State.OFF_TRACK, kind=None, change_week=None)


def label(state: State, kind: NonresponseKind | None, on_pace: float | None) -> str:
    """Returns the short label of a verdict for screens. The label claims no more than the state and the shares do."""
    if kind is NonresponseKind.STOPPED:
        return "Stopped responding"
    if kind is NonresponseKind.NEVER:
        return "Not responding so far"
    if state is State.RESPONDING:
        return "Responding" if on_pace is None or on_pace >= 0.5 else "No alarm, pace not clear"
    return LABELS[state]
