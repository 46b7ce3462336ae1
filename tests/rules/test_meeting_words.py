"""Tests the words by which the pages of meetings say why an item is on an agenda."""

from datetime import date

from app.agenda.rules import DEFAULT_ORDER
from app.rest.meeting_words import write_reason

DAY = date(2026, 10, 6)


def test_a_day_that_was_set_is_not_a_day_since_which() -> None:
    """Protects a reader from "is near, since October 20": the day of a goal or a task is the one that was set."""
    assert write_reason("goal_due", ["goal_due"], DAY) == "The date of the goal is near: October 6, 2026"
    assert write_reason("goal_passed", ["review_due"], DAY) == "The support is to be reviewed: October 6, 2026"
    assert write_reason("action_due", ["action_due"], DAY) == "What we agreed is due: October 6, 2026"
    assert write_reason("new_concern", ["new_concern"], DAY) == "A new concern, since October 6, 2026"


def test_a_signal_and_an_alarm_say_what_they_are() -> None:
    """Protects a team from an item that does not say what was seen, and from one that hides its second reason."""
    assert write_reason("signal", ["failing"], DAY) == (
        "A signal: the grades in a class are failing, since October 6, 2026"
    )
    assert write_reason("decision_due", ["off_track", "decision_due"], DAY) == (
        "Off track: at this pace the goal will be missed. A decision is due, since October 6, 2026"
    )
    assert write_reason("hypothesis_due", ["verdict_turned"], DAY).startswith("The verdict has turned")


def test_each_kind_has_words_even_for_a_code_that_is_new() -> None:
    """Protects the page from failing on a reason that a later version knows."""
    for kind in DEFAULT_ORDER:
        assert write_reason(kind, ["something_else"], DAY).endswith("October 6, 2026")
        assert len(write_reason(kind, [], DAY)) > 20
