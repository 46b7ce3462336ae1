"""Contains the wording of the pages about meetings, which teachers and principals read."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta

from app.agenda.rules import DEFAULT_ORDER, AgendaItemKind, AgendaItemState
from app.decision.rules import DecisionKind
from app.hypothesis.rules import DueBecause
from app.signal.rules import SignalKind

KINDS = {
    AgendaItemKind.UNSERVED: "An accepted concern that no support answers",
    AgendaItemKind.NOT_RESPONDING: "The support does not work as it should",
    AgendaItemKind.DECISION_DUE: "A decision is due",
    AgendaItemKind.OFF_TRACK: "Off track: at this pace the goal will be missed",
    AgendaItemKind.UNDER_DELIVERED: "The support is given less than planned",
    AgendaItemKind.UNLED: "Nobody leads the support",
    AgendaItemKind.GOAL_PASSED: "The date of the goal has passed",
    AgendaItemKind.GOAL_DUE: "The date of the goal is near",
    AgendaItemKind.HYPOTHESIS_DUE: "Did the support test what we suspected?",
    AgendaItemKind.ACTION_DUE: "What we agreed is due",
    AgendaItemKind.NEW_CONCERN: "A new concern",
    AgendaItemKind.CORE_STALL: "A grade that fell behind as a whole",
    AgendaItemKind.SIGNAL: "A signal in the data",
    AgendaItemKind.CHECK_OVERDUE: "The support has had no score for a while",
    AgendaItemKind.GOAL_MET: "It went well: the goal is met",
    AgendaItemKind.READY_TO_FADE: "It went well: the support can fade",
    AgendaItemKind.OWN: "A topic of the team",
}
"""The words for each kind of agenda item. They state why the item is on the agenda."""

REASONS: dict[str, str] = {
    "review_due": "The support is to be reviewed",
    DueBecause.SUPPORT_ENDED: "Did the support, which has ended, test what we suspected?",
    DueBecause.VERDICT_TURNED: "The verdict has turned: did the support test what we suspected?",
    SignalKind.SCREENING_UNDER_CUT: "A signal: the screening score is under the cut",
    SignalKind.GRADE_DROP: "A signal: the grades in a class have dropped",
    SignalKind.FAILING: "A signal: the grades in a class are failing",
    SignalKind.MISSING_WORK: "A signal: work is missing in a class",
    SignalKind.ATTENDANCE: "A signal: the student was absent on many days",
    SignalKind.INCIDENTS: "A signal: there were several incidents within weeks",
    SignalKind.ARRIVED_WITH_SUPPORT: "A signal: the student came to the school with a support",
}
"""The words for reasons that say more than the kind of the agenda item does."""
DAYS_TO_COME = (AgendaItemKind.GOAL_DUE, AgendaItemKind.GOAL_PASSED, AgendaItemKind.ACTION_DUE)
"""The kinds of items that show a date that somebody set, such as a goal date.

An item of any other kind shows the date since which it has had a reason to be on the agenda.
"""

DECISIONS = {
    DecisionKind.CONTINUE: "Continue as planned",
    DecisionKind.RAISE_GOAL: "Raise the goal",
    DecisionKind.INTENSIFY: "Intensify the support",
    DecisionKind.CHANGE: "Change the support",
    DecisionKind.FADE: "Fade the support",
    DecisionKind.EXIT: "End the support",
    DecisionKind.RESTORE_FIDELITY: "Give the support as planned",
    DecisionKind.REFER: "Refer",
}
"""The words for each kind of decision."""

OUTCOMES = {
    AgendaItemState.DISCUSSED: "What we discussed",
    AgendaItemState.CARRIED: "Carried to the next meeting",
    AgendaItemState.DROPPED: "Dropped",
    AgendaItemState.SUSPENDED: "Set aside: the team did not serve the student",
}
"""The headings of a recap."""

STATES = {
    AgendaItemState.OPEN: "Not settled yet",
    AgendaItemState.DISCUSSED: "Discussed",
    AgendaItemState.CARRIED: "Carried",
    AgendaItemState.DROPPED: "Dropped",
    AgendaItemState.SUSPENDED: "Set aside",
}
"""What became of an item of an agenda."""


def write_day(day: date) -> str:
    """Returns a day in words, such as `October 6, 2026`."""
    return f"{day:%B} {day.day}, {day.year}"


def write_reason(kind: str, codes: Iterable[str], since: date) -> str:
    """Returns a text that says why an item is on an agenda, and since when.

    If there are several reasons, all are stated.
    """
    shown = AgendaItemKind(kind)
    because = [REASONS.get(code, KINDS[AgendaItemKind(code)] if code in DEFAULT_ORDER else "") for code in codes]
    reasons = ". ".join(dict.fromkeys(words for words in because if words)) or KINDS[shown]
    if shown in DAYS_TO_COME:
        return f"{reasons}: {write_day(since)}"
    return f"{reasons} Since {write_day(since)}" if reasons.endswith("?") else f"{reasons}, since {write_day(since)}"


def write_time(starts_at: datetime, minutes: int) -> str:
    """Returns the time of a meeting in the zone of `starts_at`, such as `Tuesday, October 6, 2026, 8:00–8:45 AM`."""
    ends_at = starts_at + timedelta(minutes=minutes)
    begins = _clock(starts_at) if starts_at.hour // 12 == ends_at.hour // 12 else f"{_clock(starts_at)} {starts_at:%p}"
    return f"{starts_at:%A}, {write_day(starts_at)}, {begins}–{_clock(ends_at)} {ends_at:%p}"


def count_items(number: int) -> str:
    """Returns a sentence about the items that the reader may not see."""
    items = "item that you may not see" if number == 1 else "items that you may not see"
    return f"There {'is' if number == 1 else 'are'} {number} {items}."


def _clock(moment: datetime) -> str:
    return f"{moment.hour % 12 or 12}:{moment:%M}"
