"""Tests the text of meeting pages: why an item is on the agenda, and how many similar items are shown."""

from dataclasses import replace
from datetime import date
from uuid import UUID, uuid4

from app.agenda.pages.sheet import AgendaSheet
from app.agenda.reading import Agenda, AgendaEntry, AgendaReason
from app.agenda.rules import DEFAULT_ORDER
from app.rest.meeting_pages import agenda_page
from app.rest.meeting_words import REASONS, write_reason
from app.signal.rules import SignalKind

DAY = date(2026, 10, 6)


def test_a_day_that_was_set_is_not_a_day_since_which() -> None:
    """The text about a goal date or a due date does not say "since". The text about a new concern does."""
    assert write_reason("goal_due", ["goal_due"], DAY) == "The date of the goal is near: October 6, 2026"
    assert write_reason("goal_passed", ["review_due"], DAY) == "The support is to be reviewed: October 6, 2026"
    assert write_reason("action_due", ["action_due"], DAY) == "What we agreed is due: October 6, 2026"
    assert write_reason("new_concern", ["new_concern"], DAY) == "A new concern, since October 6, 2026"


def test_a_signal_and_an_alarm_say_what_they_are() -> None:
    """The text of an item states the reason: what a signal has found, or why a decision is due."""
    assert write_reason("signal", ["failing"], DAY) == (
        "A signal: the grades in a class are failing, since October 6, 2026"
    )
    assert write_reason("decision_due", ["off_track", "decision_due"], DAY) == (
        "Off track: at this pace the goal will be missed. A decision is due, since October 6, 2026"
    )
    assert write_reason("hypothesis_due", ["verdict_turned"], DAY).endswith("what we suspected? Since October 6, 2026")


def test_each_kind_of_signal_says_what_was_seen() -> None:
    """The text of each kind of signal says what was seen, and not only that there is a signal."""
    elsewhere = {SignalKind.UNMET_GOAL, SignalKind.AHEAD_OF_GOAL}  # the item is about the day of the goal
    for kind in SignalKind:
        if kind not in elsewhere:
            assert kind in REASONS or kind in DEFAULT_ORDER, kind
    absent = write_reason("signal", ["attendance"], DAY)
    assert absent == "A signal: the student was absent on many days, since October 6, 2026"


def test_each_kind_has_words_even_for_a_code_that_is_new() -> None:
    """Each kind of item has a text on the page, even if its reason code is unknown or missing."""
    for kind in DEFAULT_ORDER:
        assert write_reason(kind, ["something_else"], DAY).endswith("October 6, 2026")
        assert len(write_reason(kind, [], DAY)) > 20


def test_many_students_about_whom_the_same_is_said_are_one_item_of_the_page() -> None:
    """If many items say the same about different students, the page has one item with all of the names."""
    people = {uuid4(): f"Student {letter}" for letter in "ABCD"}
    signals = [_entry(student, name, "signal", "screening_under_cut") for student, name in people.items()]
    concern = _entry(*next(iter(people.items())), "new_concern", "new_concern")
    agenda = Agenda(uuid4(), None, DEFAULT_ORDER, (concern, *signals), 0)
    page = "".join(agenda_page(AgendaSheet(agenda, "Grade 3", "America/Chicago")))
    assert page.count("<article>") == 2
    assert "4 students" in page
    assert "Student A, Student B, Student C, Student D" in page
    unnamed = replace(agenda, entries=tuple(replace(entry, student_name=None) for entry in agenda.entries))
    nameless = "".join(agenda_page(AgendaSheet(unnamed, "Grade 3", "America/Chicago")))
    assert nameless.count("A student") == 1
    two = Agenda(uuid4(), None, DEFAULT_ORDER, (concern, *signals[:2]), 0)
    assert "".join(agenda_page(AgendaSheet(two, "Grade 3", "America/Chicago"))).count("<article>") == 3


def test_a_student_with_two_signals_is_one_of_the_students() -> None:
    """A student with signals from two measures is named and counted once.

    Signals of different areas are separate items of the page, in whatever order they come.
    """
    people = {uuid4(): f"Student {letter}" for letter in "ABC"}
    signals = [
        _entry(student, name, "signal", "screening_under_cut") for student, name in people.items() for _ in range(3)
    ]
    areas = ("Reading fluency", "Computation", "Reading fluency") * 3
    topics = {signal.subject_id: area for signal, area in zip(signals, areas, strict=True)}
    agenda = Agenda(uuid4(), None, DEFAULT_ORDER, tuple(signals), 0)
    page = "".join(agenda_page(AgendaSheet(agenda, "Grade 3", "America/Chicago", topics)))
    assert page.count("<article>") == 2
    assert page.count("3 students") == 2
    assert page.count("Student A, Student B, Student C") == 2


def _entry(student_id: UUID, name: str, kind: str, code: str) -> AgendaEntry:
    return AgendaEntry(
        item_id=None,
        kind=kind,
        rank=DEFAULT_ORDER.index(kind) + 1,
        subject_kind="signal",
        subject_id=uuid4(),
        student_id=student_id,
        since=DAY,
        reasons=(AgendaReason(code, ()),),
        state="open",
        text=None,
        minutes=None,
        decision_id=None,
        dropped_because=None,
        times_carried=0,
        version=None,
        student_name=name,
    )
