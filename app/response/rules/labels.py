"""Names an alarm only where the shares of growth bear the name out, and gives each verdict its short label. Pure."""

from __future__ import annotations

from dataclasses import replace

from app.response.rules.verdict import Finding, NonresponseKind, Shares, State

NAMED = 0.52
"""The share of slow growth from which an alarm is called not responding.

It is above one half, because the first week in which a share passes a limit overstates it: in the benchmark, of the
students so called, .60 truly grow under half of the required rate (docs/response.md).
"""

LABELS = {
    State.INSUFFICIENT_DATA: "Too few scores",
    State.BELOW_PACE: "Growing, below pace",
    State.GOAL_MET: "Goal met",
    State.UNCERTAIN: "Not clear yet",
    State.OFF_TRACK: "Off track",
    State.UNDER_DELIVERED: "Not delivered as planned",
}


def bears_name(shares: Shares | None) -> bool:
    """Returns whether the shares say that growth is more likely than not under half of the required rate."""
    return shares is not None and shares.slow >= NAMED


def without_name(finding: Finding, shares: Shares | None) -> Finding:
    """Returns a growth rule's finding; a flag that the shares do not name becomes off track."""
    if finding.state is not State.NOT_RESPONDING or bears_name(shares):
        return finding
    return replace(finding, state=State.OFF_TRACK, kind=None, change_week=None)


def label(state: State, kind: NonresponseKind | None, on_pace: float | None) -> str:
    """Returns a verdict's short label for screens. It says no more than the state and the shares do."""
    if kind is NonresponseKind.STOPPED:
        return "Stopped responding"
    if kind is NonresponseKind.NEVER:
        return "Not responding so far"
    if state is State.RESPONDING:
        return "Responding" if on_pace is None or on_pace >= 0.5 else "No alarm, pace not clear"
    return LABELS[state]
