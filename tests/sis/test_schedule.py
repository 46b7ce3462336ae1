"""Tests when a source is due: cron in the district's time zone, changes of clocks, jitter, freezes, full runs."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sis.sources.schedule import is_cron, is_full_due, jitter_of, next_run, overdue_at

CHICAGO = "America/Chicago"
NIGHTLY = "30 2 * * *"


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _local(text: str, zone: str = CHICAGO) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def test_a_night_is_of_the_districts_own_clock() -> None:
    """Scheduled times follow the district's own clock: half past two in Chicago is another instant in winter than in
    summer.
    """
    assert next_run(NIGHTLY, CHICAGO, _utc("2026-01-15T00:00")) == _utc("2026-01-15T08:30")
    assert next_run(NIGHTLY, CHICAGO, _utc("2026-07-15T00:00")) == _utc("2026-07-15T07:30")
    assert next_run(NIGHTLY, "Asia/Tokyo", _utc("2026-01-15T00:00")) == _utc("2026-01-15T17:30")


def test_a_time_that_the_clocks_skip_runs_right_after_it() -> None:
    """If a change of clocks skips a scheduled time, the run begins right after the change, and only once."""
    first = next_run(NIGHTLY, CHICAGO, _local("2026-03-07T12:00"))
    assert first == _local("2026-03-08T03:00")
    assert next_run(NIGHTLY, CHICAGO, first) == _local("2026-03-09T02:30")


def test_a_time_that_comes_twice_runs_once() -> None:
    """A scheduled time that occurs twice gives one run.

    For example, 01:30 occurs twice on 1 November 2026 in Chicago.
    """
    first = next_run("30 1 * * *", CHICAGO, _local("2026-10-31T12:00"))
    assert first.astimezone(ZoneInfo(CHICAGO)).strftime("%d %H:%M") == "01 01:30"
    second = next_run("30 1 * * *", CHICAGO, first)
    assert second.astimezone(ZoneInfo(CHICAGO)).strftime("%d %H:%M") == "02 01:30"


@given(
    st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1)),
    st.sampled_from([CHICAGO, "Europe/Berlin", "Australia/Lord_Howe", "UTC", "Pacific/Apia"]),
    st.sampled_from([NIGHTLY, "0 3 * * 1-5", "*/20 * * * *", "15 1,2,3 * * *", "0 0 1 * *"]),
    st.integers(0, 720),
)
def test_the_next_run_is_always_later_and_never_far(at: datetime, zone: str, cron: str, minutes: int) -> None:
    """The next run is always after the last one, and not far in the future."""
    after, jitter = at.replace(tzinfo=UTC), timedelta(minutes=minutes)
    due = next_run(cron, zone, after, jitter)
    assert after < due <= after + timedelta(days=32)
    assert next_run(cron, zone, due, jitter) > due


def test_the_jitter_is_a_sources_own_and_stays() -> None:
    """Each source has its own delay after the scheduled time, which is the same for every run."""
    delays = [jitter_of(UUID(int=n), 30) for n in range(200)]
    assert delays == [jitter_of(UUID(int=n), 30) for n in range(200)]
    assert all(timedelta(0) <= one < timedelta(minutes=30) for one in delays)
    assert len(set(delays)) > 150
    assert jitter_of(UUID(int=1), 0) == timedelta(0)
    late = next_run(NIGHTLY, "UTC", _utc("2026-01-15T02:40"), timedelta(minutes=20))
    assert late == _utc("2026-01-15T02:50"), "the run of tonight, which its jitter has still before it"


def test_no_run_begins_on_a_frozen_day() -> None:
    """No run begins on a frozen day; the first and the last day are frozen too. A freeze without an end leaves no
    run.
    """
    freeze = [(date(2026, 12, 21), date(2027, 1, 1))]
    assert next_run(NIGHTLY, "UTC", _utc("2026-12-19T12:00"), freeze=freeze) == _utc("2026-12-20T02:30")
    assert next_run(NIGHTLY, "UTC", _utc("2026-12-20T12:00"), freeze=freeze) == _utc("2027-01-02T02:30")
    with pytest.raises(ValueError, match="leave no run"):
        next_run(NIGHTLY, "UTC", _utc("2026-12-20T12:00"), freeze=[(date(2026, 1, 1), date(9998, 1, 1))])


def test_the_day_on_which_a_run_begins_is_that_after_its_jitter() -> None:
    """Whether a run falls into a freeze depends on the day on which it begins, after its delay (jitter)."""
    late, jitter, freeze = "50 23 * * *", timedelta(minutes=25), [(date(2026, 12, 21), date(2027, 1, 1))]
    following = next_run(late, "America/Chicago", _utc("2026-12-20T12:00"), jitter, freeze)
    assert following == _utc("2027-01-02T06:15")


def test_a_run_is_full_when_the_reconcile_has_come_since_the_last() -> None:
    """A run reads the whole source if a full run is due, if no run was ever applied, or if the source has no schedule
    for full runs.
    """
    saturday = "0 3 * * 6"
    full_at = _utc("2026-11-14T03:10")  # a Saturday
    assert is_full_due(None, "UTC", full_at, _utc("2026-11-15T03:00"))
    assert is_full_due(saturday, "UTC", None, _utc("2026-11-15T03:00"))
    assert not is_full_due(saturday, "UTC", full_at, _utc("2026-11-21T02:59"))
    assert is_full_due(saturday, "UTC", full_at, _utc("2026-11-21T03:00"))


def test_silence_is_news_after_26_hours_or_after_the_schedule_itself_has_spoken() -> None:
    """A nightly source is overdue after 26 hours; one that has no runs at weekends is not overdue on Saturday."""
    friday = _utc("2026-11-20T02:30")
    assert overdue_at(NIGHTLY, "UTC", friday) == friday + timedelta(hours=26)
    assert overdue_at("30 2 * * 1-5", "UTC", friday) == _utc("2026-11-23T04:30")
    assert overdue_at("0 * * * *", "UTC", friday) == friday + timedelta(hours=26)


@pytest.mark.parametrize("text", ["", "* * * *", "61 * * * *", "0 0 30 2 *", "0 2 * * * *", "@daily", "a b c d e"])
def test_what_is_no_cron_expression_is_none(text: str) -> None:
    """A text that is no cron expression, or whose time can never occur, is refused."""
    assert not is_cron(text)


@pytest.mark.parametrize("cron", ["0 2 1 1 *", "0 2 1 * *", "0 0 29 2 *", "* * * * *"])
def test_a_freeze_to_the_end_of_the_calendar_leaves_no_run(cron: str) -> None:
    """A freeze that leaves no day for a run is reported as an error, without searching the whole calendar."""
    for last in (date(9999, 12, 31), date(9999, 12, 30), date(2099, 1, 1)):
        with pytest.raises(ValueError, match="leave no run"):
            next_run(cron, "Pacific/Auckland", _utc("2026-12-20T12:00"), freeze=[(date(2026, 1, 1), last)])


def test_a_schedule_by_the_minute_outlasts_its_freezes() -> None:
    """After a long freeze, a schedule with a run every five minutes has its next run at the end of the freeze."""
    freeze = [(date(2026, 12, 21), date(2027, 1, 31)), (date(2027, 1, 31), date(2027, 2, 28))]
    following = next_run("*/5 * * * *", "UTC", _utc("2026-12-20T23:55"), freeze=freeze)
    assert following == _utc("2027-03-01T00:00")
