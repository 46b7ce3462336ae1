"""Tests dosage: delivered sessions against planned ones. Sessions without a record are unknown, and not missed."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.clock import monday_of
from app.roster.calendar import off_between
from app.support.dosage import (
    LOST_BECAUSE,
    DeliveredSessions,
    Dosage,
    combine_dosages,
    dosage,
    planned_in,
    school_days,
)

MONDAY = date(2026, 1, 5)
PLAN = {"minutes_per_session": 30, "sessions_per_week": 3}


def day(week: int, weekday: int = 0) -> date:
    """Returns a day, given its week and its weekday, both counted from 0."""
    return MONDAY + timedelta(weeks=week, days=weekday)


def session_record(
    held_on: date, planned: int, delivered: int, attended: bool, lost_because: str | None
) -> DeliveredSessions:
    """Returns the record of one session, as the totals of a week that has only this session.

    Minutes beyond the plan do not count as negative lost minutes.
    """
    given = delivered if attended else 0
    return DeliveredSessions(
        monday=monday_of(held_on),
        planned_sessions=int(planned > 0),
        delivered_sessions=int(given > 0),
        planned_minutes=planned,
        delivered_minutes=given,
        lost_minutes=max(planned - given, 0),
        lost_because=lost_because,
    )


def held(
    week: int, weekday: int, delivered: int = 30, planned: int = 30, because: str | None = None
) -> DeliveredSessions:
    """Returns the record of one session in a week, with its planned and delivered minutes."""
    reason = because or ("schedule" if delivered < planned else None)
    return session_record(day(week, weekday), planned, delivered, delivered > 0, reason)


def over(weeks: int, records: list[DeliveredSessions], off: frozenset[date] = frozenset()) -> Dosage:
    """Returns the dosage of whole weeks, with three planned sessions of 30 minutes in each."""
    return dosage(MONDAY, day(weeks - 1, 4), off, records, **PLAN)


def test_what_has_no_record_is_unknown_and_not_missed() -> None:
    """If two of six sessions are recorded as given, the other four are unknown, and none counts as lost."""
    result = over(2, [held(0, 0), held(0, 2)])
    assert (result.planned_sessions, result.delivered_sessions, result.unknown_sessions) == (6, 2, 4)
    assert (result.planned_minutes, result.known_minutes, result.delivered_minutes) == (180, 60, 60)
    assert result.lost == {}


def test_the_share_rests_on_the_known_and_needs_half_of_them() -> None:
    """The delivered share is computed from the sessions that have a record.

    If fewer than half of the planned sessions have a record, the share is None.
    """
    assert over(2, [held(0, 0), held(0, 2)]).share is None
    half = over(2, [held(0, 0), held(0, 2), held(1, 0, 0)])
    assert half.is_known
    assert half.share == pytest.approx(2 / 3)


def test_the_share_is_the_lesser_session_records_and_minutes() -> None:
    """The delivered share is the share of sessions or the share of minutes, whichever is lower."""
    result = over(1, [held(0, weekday, 10) for weekday in range(3)])
    assert result.session_share == 1.0
    assert result.share == result.minute_share == pytest.approx(1 / 3)
    assert result.lost == {"schedule": 60}


def test_a_session_that_makes_up_for_another_is_no_plan_of_its_own() -> None:
    """A session that makes up for a missed one does not count as planned.

    Example: missed on Monday, made up for on Thursday: three planned, three delivered.
    """
    records = [held(0, 0, 0), held(0, 1), held(0, 2), held(0, 3, planned=0)]
    result = over(1, records)
    assert (result.planned_sessions, result.delivered_sessions, result.unknown_sessions) == (3, 3, 0)
    assert result.share == 1.0


def test_a_week_without_instruction_asks_for_nothing() -> None:
    """In a week without instruction nothing is planned. A session that was recorded in it counts as a planned one."""
    off = frozenset({day(1)})
    assert over(3, [], off).planned_sessions == 6
    assert [week.monday for week in over(3, [], off).weeks] == [day(0), day(2)]
    assert over(3, [held(1, 1)], off).planned_sessions == 7


def test_a_window_that_cuts_a_week_asks_for_its_share() -> None:
    """For a part of a week, a proportional part of the week's sessions is planned."""
    days = school_days(day(0, 2), day(1, 1), ())
    assert days == {day(0): 3, day(1): 2}
    assert [planned_in(one, 3) for one in (0, 1, 2, 3, 4, 5)] == [0, 1, 1, 2, 2, 3]
    assert school_days(day(0, 5), day(0, 6), ()) == {day(0): 0}
    assert school_days(day(1), day(0), ()) == {}


def test_phases_add_up_and_share_a_week() -> None:
    """If a plan changes within a week, the dosage contains this week only once, with the sessions of both plans."""
    first = dosage(MONDAY, day(1, 1), (), [held(0, 0)], **PLAN)
    second = dosage(day(1, 2), day(2, 4), (), [held(2, 0)], minutes_per_session=20, sessions_per_week=5)
    whole = combine_dosages(MONDAY, day(2, 4), [first, second])
    assert [week.monday for week in whole.weeks] == [day(0), day(1), day(2)]
    assert whole.planned_sessions == first.planned_sessions + second.planned_sessions
    assert whole.planned_minutes == first.planned_minutes + second.planned_minutes
    assert whole.known_sessions == 2


SESSIONS = st.builds(
    session_record,
    st.integers(0, 6 * 7 - 1).map(lambda n: MONDAY + timedelta(days=n)),
    st.integers(0, 120),
    st.integers(0, 120),
    st.booleans(),
    st.sampled_from([None, *LOST_BECAUSE]),
)
RECORDS = st.lists(SESSIONS, max_size=40)
OFF = st.frozensets(st.integers(0, 5).map(day))
WEEKLY = st.integers(1, 25)


def made(records: list[DeliveredSessions], off: frozenset[date], weekly: int) -> Dosage:
    """Returns the dosage of six weeks with `weekly` planned sessions of 45 minutes a week."""
    return dosage(MONDAY, day(5, 6), off, records, minutes_per_session=45, sessions_per_week=weekly)


@given(RECORDS, OFF, WEEKLY)
def test_sums_hold_together(records: list[DeliveredSessions], off: frozenset[date], weekly: int) -> None:
    """The known and the unknown sessions add up to the planned sessions.

    The delivered and the lost minutes add up to at least the planned minutes of the known sessions.
    """
    result = made(records, off, weekly)
    assert result.known_sessions + result.unknown_sessions == result.planned_sessions
    assert result.known_sessions == sum(one.planned_sessions for one in records)
    assert result.delivered_sessions <= len(records)
    assert result.delivered_minutes == sum(one.delivered_minutes for one in records)
    assert result.planned_minutes == result.known_minutes + 45 * result.unknown_sessions
    assert sum(result.lost.values()) >= result.known_minutes - result.delivered_minutes
    assert set(result.lost) <= set(LOST_BECAUSE)
    assert min(getattr(result, name) for name in ("unknown_sessions", "delivered_minutes", "known_minutes")) >= 0


@given(RECORDS, OFF, WEEKLY, st.randoms(use_true_random=False))
def test_the_order_of_records_changes_nothing(
    records: list[DeliveredSessions], off: frozenset[date], weekly: int, random: object
) -> None:
    """The dosage does not depend on the order of the records, nor on whether they are summed one by one or in the
    database.
    """
    mixed = list(records)
    random.shuffle(mixed)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert made(mixed, off, weekly) == made(records, off, weekly)


@given(RECORDS, OFF, WEEKLY, st.integers(0, 5))
def test_the_unknown_is_never_counted_as_missed(
    records: list[DeliveredSessions], off: frozenset[date], weekly: int, week: int
) -> None:
    """If more sessions are planned and none of them is recorded, the lost and the delivered minutes stay the same.

    The delivered share stays the same too, or becomes None. An additional session that was held as planned does not
    lower the share.
    """
    less, more = made(records, off, weekly), made(records, off, weekly + 3)
    assert more.lost == less.lost
    assert more.delivered_minutes == less.delivered_minutes
    assert more.share in (None, less.share)
    # One session more that was held as planned never lowers the share.
    better = made([*records, session_record(day(week), 45, 45, True, None)], off, weekly)
    if less.share is not None and less.share <= 1 and better.share is not None:
        assert better.share >= less.share - 1e-12


@given(RECORDS, OFF, WEEKLY, st.integers(1, 5))
def test_two_windows_make_the_whole(
    records: list[DeliveredSessions], off: frozenset[date], weekly: int, at: int
) -> None:
    """If a period is split at the end of a week, the dosages of both parts add up to the dosage of the whole period."""
    parts = [
        dosage(since, until, off, [one for one in records if since <= one.monday <= until], **plan)
        for since, until in ((MONDAY, day(at - 1, 6)), (day(at), day(5, 6)))
        for plan in ({"minutes_per_session": 45, "sessions_per_week": weekly},)
    ]
    assert combine_dosages(MONDAY, day(5, 6), parts) == made(records, off, weekly)


def test_a_window_knows_of_the_weeks_of_its_own_time_only() -> None:
    """Only weeks of the requested period count as weeks without instruction, even if the calendar has more weeks.

    If the calendar has no week of the period, `off_between` returns None.
    """
    weeks = [(day(n), n != 2) for n in (0, 1, 2, 3, 6, 7)]
    assert off_between(weeks, day(1, 3), day(3, 4)) == frozenset({day(2)})
    assert off_between(weeks, day(0), day(5)) == frozenset({day(2)})
    assert off_between(weeks, day(0), day(7)) == frozenset({day(2), day(4), day(5)})
    assert off_between(weeks, day(4), day(5)) is None


def test_what_a_plan_asks_is_not_changed_by_what_another_student_was_given() -> None:
    """A plan that is cached for all students with the same plan is not changed by the records of one student."""
    before = dosage(day(0), day(1, 4), (), [], **PLAN)
    given = dosage(day(0), day(1, 4), (), [session_record(day(0), 30, 20, True, None)], **PLAN)
    assert (given.delivered_minutes, given.known_sessions, given.planned_sessions) == (20, 1, 6)
    assert dosage(day(0), day(1, 4), (), [], **PLAN) == before
