"""Tests on which days a series of meetings occurs by a rule of RFC 5545, and which rules are refused."""

import random
from datetime import date, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

import pytest

from app.core.errors import Invalid
from app.meeting.recurrence import WEEKDAYS, check_rule, parse_rule
from tests.processor import least_seconds

BEGINS = date(2026, 9, 8)
UNTIL = BEGINS + timedelta(days=800)


def days(rule: str, count: int) -> list[str]:
    """Returns the first `count` days of a recurring series as ISO dates."""
    return [str(day) for day in parse_rule(rule).days(BEGINS, BEGINS, UNTIL)[:count]]


def test_rules_of_teams_name_the_days_that_a_calendar_shows() -> None:
    """Recurrence rules such as teams use give the days that a calendar shows.

    Examples are: weekly, every other week, the first Tuesday, the last Friday, or until a given day.
    """
    assert days("FREQ=WEEKLY;BYDAY=TU", 2) == ["2026-09-08", "2026-09-15"]
    assert days("RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH;WKST=MO", 3) == ["2026-09-10", "2026-09-21", "2026-09-24"]
    assert days("FREQ=MONTHLY;BYDAY=1TU", 2) == ["2026-10-06", "2026-11-03"]
    assert days("FREQ=MONTHLY;BYDAY=-1FR", 1) == ["2026-09-25"]
    assert days("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", 1) == ["2026-09-30"]
    assert days("FREQ=WEEKLY;UNTIL=20260920T000000Z", 5) == ["2026-09-08", "2026-09-15"]
    assert days("FREQ=DAILY;COUNT=2", 5) == ["2026-09-08", "2026-09-09"]


def test_a_series_goes_on_from_its_beginning_whatever_is_read() -> None:
    """INTERVAL and COUNT of a recurrence rule are counted from the first day of the series.

    This holds even if only later weeks are read.
    """
    rule = parse_rule("FREQ=WEEKLY;INTERVAL=3;COUNT=4")
    later = BEGINS + timedelta(weeks=5)
    assert [str(day) for day in rule.days(BEGINS, later, UNTIL)] == ["2026-10-20", "2026-11-10"]


def test_random_rules_name_the_days_that_dateutil_names() -> None:
    """For random recurrence rules, the days equal those of the library dateutil.

    The rules have no combinations of parts that dateutil interprets differently.
    """
    rrulestr: Any = pytest.importorskip("dateutil.rrule").rrulestr
    seeded, compared = random.Random(17), 0
    while compared < 300:
        rule, begins = _random_rule(seeded), date(2026, 1, 1) + timedelta(days=seeded.randint(0, 800))
        own = parse_rule(rule).days(begins, begins, begins + timedelta(days=800))
        if not own:
            continue  # dateutil would search until the year 9999
        moments = rrulestr(rule, dtstart=datetime.combine(begins, datetime.min.time()))
        assert [moment.date() for moment in islice(moments, len(own))] == own, rule
        compared += 1


def test_the_days_of_an_old_series_are_those_of_its_beginning_and_cost_little() -> None:
    """The days of a meeting series that began in 2000 are right, and are found quickly.

    The days of the present school year equal those that are computed from the first day of the series.
    """
    seeded = random.Random(18)
    since, until = date(2026, 9, 1), date(2027, 10, 1)
    for _ in range(60):
        rule, begins = parse_rule(_random_rule(seeded)), date(2000, 1, 1) + timedelta(days=seeded.randint(0, 800))
        assert least_seconds(partial(rule.days, begins, since, until), 0.01) < 0.01
        assert rule.days(begins, since, until) == [day for day in rule.days(begins, begins, until) if day >= since]


def _random_rule(seeded: random.Random) -> str:
    frequency = seeded.choice(["DAILY", "WEEKLY", "MONTHLY"])
    parts = [f"FREQ={frequency}", f"INTERVAL={seeded.randint(1, 4)}"]
    if seeded.random() < 0.7:
        places = [1, 2, 3, -1] if frequency == "MONTHLY" and seeded.random() < 0.5 else [""]
        chosen = seeded.sample(WEEKDAYS, seeded.randint(1, 3))
        parts.append("BYDAY=" + ",".join(f"{seeded.choice(places)}{day}" for day in chosen))
        if frequency == "MONTHLY" and seeded.random() < 0.5:
            parts.append(f"BYSETPOS={seeded.choice([1, 2, -1])}")
    if frequency != "WEEKLY" and seeded.random() < 0.3:
        parts.append("BYMONTHDAY=1,5,15,28,31,-1")
    if seeded.random() < 0.3:
        parts.append("BYMONTH=" + ",".join(str(month) for month in seeded.sample(range(1, 13), 6)))
    return ";".join(parts)


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "meeting_series.never_occurs"),
        ("FREQ=WEEKLY;UNTIL=20200101", "meeting_series.never_occurs"),
        ("FREQ=MONTHLY;BYDAY=5MO;BYSETPOS=2", "meeting_series.never_occurs"),
        *((rule, "meeting_series.rule") for rule in ("", "x", "FREQ=SECONDLY", "FREQ=WEEKLY;FREQ=DAILY", "BYDAY=TU")),
        *((rule, "meeting_series.rule") for rule in ("FREQ=WEEKLY;BYHOUR=3", "FREQ=WEEKLY;BYDAY=2TU")),
        *((rule, "meeting_series.rule") for rule in ("FREQ=DAILY;COUNT=2;UNTIL=20270101", "FREQ=DAILY;BYSETPOS=1")),
        *((rule, "meeting_series.rule") for rule in ("FREQ=MONTHLY;BYMONTHDAY=0", "FREQ=DAILY;UNTIL=20261399")),
        ("FREQ=DAILY;BYDAY=\u017fA", "meeting_series.rule"),  # a long s, whose capital is S
    ],
)
def test_rules_that_cannot_be_read_or_never_occur_are_refused_at_once(rule: str, code: str) -> None:
    """Rules that cannot be read or never occur are refused at once.

    A library once searched 13 s for the thirtieth of February.
    """

    def check() -> None:
        with pytest.raises(Invalid) as refused:
            check_rule(rule, BEGINS)
        assert refused.value.violations[0].code == code

    assert least_seconds(check, 1) < 1
