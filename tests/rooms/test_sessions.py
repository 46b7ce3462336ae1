"""Tests that sessions are recorded, amended and removed with a log, and that the dosage is computed from them."""

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import Conflict, Forbidden, Invalid, NotFound
from app.core.page import keyset
from app.response import service as judged
from app.response.queries import verdicts_now
from app.response.service import change_support, record_scores, start_support
from app.roster.models import SchoolWeek
from app.support.dosage import Dosage
from app.support.lookup import DosageWindow, dosages_of
from app.support.models import Support
from app.support.queries import changes_of, dosage_between, phases_of, session, sessions
from app.support.service import SupportChange, end_support, plan_support
from app.support.session import (
    NewSession,
    RecordedSession,
    SessionAmendment,
    amend_session,
    record_sessions,
    remove_session,
)
from app.team.caseload import bound_to_person
from tests.rooms.test_loop import BEGINS, RISES, STALLS, served, support_for, weekly
from tests.town import ALL_SCOPES, Town


def on(week: int, weekday: int = 0) -> date:
    """Returns a day of the support, given its week, counted from 0, and its weekday."""
    return BEGINS + timedelta(weeks=week, days=weekday)


def held(week: int, weekday: int = 0, **more: Any) -> NewSession:
    """Returns a session that took place as planned, with the given differences."""
    return NewSession(**({"held_on": on(week, weekday), "attended": True} | more))  # type: ignore[arg-type]  # fields by name


async def recorded(town: Town, support: Support, *new: NewSession) -> list[RecordedSession]:
    """Records these sessions and returns the results."""
    async with town.unit() as work:
        return await record_sessions(work, support.id, new)


async def codes(town: Town, support: Support, *new: NewSession) -> list[set[str]]:
    """Records sessions, and returns for each of them the codes of its violations."""
    return [{violation.code for violation in one.violations} for one in await recorded(town, support, *new)]


async def test_a_session_is_recorded_as_planned_and_changes_nothing_when_sent_again(north: Town) -> None:
    """A session without stated minutes gets the planned minutes of its phase.

    If it is sent again, nothing changes. If it is sent with other values, it is amended.
    """
    support = await served(north, "amy")
    lost = held(0, 2, attended=False, lost_because="absent", external_id="b")
    first = await recorded(north, support, held(0, external_id="a"), lost)
    assert [one.outcome for one in first] == ["recorded", "recorded"]
    rows = [one.session for one in first if one.session]
    assert [(row.planned_minutes, row.delivered_minutes) for row in rows] == [(30, 30), (30, 0)]
    repeated = await recorded(north, support, held(0, external_id="a"), lost)
    assert [one.outcome for one in repeated] == ["unchanged", "unchanged"]
    amended = await recorded(north, support, held(0, external_id="a", delivered_minutes=10, lost_because="event"))
    assert [one.outcome for one in amended] == ["amended"]
    async with north.unit() as work:
        page = await sessions(work, keyset(north.district_id, "sessions", {}, None, None), support.id)
        assert [(row.id, row.version) for row in page.rows] == [(rows[0].id, 2), (rows[1].id, 1)]
        (before,) = await changes_of(work, rows[0].id)
        assert (before.version, before.before["delivered_minutes"]) == (1, 30)


async def test_an_external_id_follows_its_session_to_another_day(north: Town) -> None:
    """A session with an external id can move to another day, even if a second session takes the old day at once."""
    support = await served(north, "amy")
    await recorded(north, support, held(0, external_id="a"))
    taken = await recorded(north, support, held(0, 1, external_id="a"), held(0, external_id="b"))
    assert [one.outcome for one in taken] == ["amended", "recorded"]
    refused = await codes(north, support, held(0, 1, external_id="b"), held(0, 1, external_id="c"))
    assert refused == [{"session.two_identities"}, {"session.two_identities"}]
    other = await served(north, "ben")
    assert await codes(north, other, held(0, external_id="a")) == [{"session.two_identities"}]


async def test_twice_in_one_request_is_one_session(north: Town) -> None:
    """A second session for the same day in one request amends the first, and the change log keeps the first values."""
    support = await served(north, "amy")
    taken = await recorded(north, support, held(0), held(0, delivered_minutes=20, lost_because="schedule"))
    assert [one.outcome for one in taken] == ["recorded", "amended"]
    assert taken[1].session is not None
    async with north.unit() as work:
        assert len(await changes_of(work, taken[1].session.id)) == 1


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"held_on": date.today() + timedelta(days=2)}, "session.in_the_future"),
        ({"held_on": BEGINS - timedelta(days=1)}, "session.outside_support"),
        ({"number": 0}, "session.number"),
        ({"planned_minutes": 481}, "session.minutes"),
        ({"delivered_minutes": -1, "lost_because": "event"}, "session.minutes"),
        ({"attended": False, "delivered_minutes": 5, "lost_because": "event"}, "session.not_attended"),
        ({"attended": False}, "session.reason_missing"),
        ({"delivered_minutes": 29}, "session.reason_missing"),
        ({"delivered_minutes": 29, "lost_because": "dog"}, "session.reason"),
        ({"delivered_minutes": 29, "lost_because": "absent"}, "session.reason"),
        ({"lost_because": "event"}, "session.nothing_lost"),
    ],
)
async def test_what_does_not_fit_is_refused_alone(north: Town, more: dict[str, Any], code: str) -> None:
    """An invalid session of a request is refused, and the others are recorded."""
    support = await served(north, "amy")
    taken = await recorded(north, support, held(1, **more), held(1, 1))
    assert [one.outcome for one in taken] == ["refused", "recorded"]
    assert {violation.code for violation in taken[0].violations} == {code}
    assert all(violation.pointer.startswith("/sessions/0/") for violation in taken[0].violations)


async def test_sessions_belong_to_a_support_that_has_begun(north: Town) -> None:
    """Sessions are refused for a planned support, and for days after the end of a support."""
    async with north.unit() as work:
        planned = await plan_support(work, support_for(north, "amy", starts="manually"))
    with pytest.raises(Conflict, match="start it"):
        await recorded(north, planned, held(0))
    async with north.unit() as work:
        await start_support(work, planned.id)
        await end_support(work, planned.id, "Enough.", on(3))
    assert await codes(north, planned, held(3), held(3, 1)) == [set(), {"session.outside_support"}]


async def test_how_many_are_taken_at_once_is_bounded(north: Town) -> None:
    """A request without sessions, or with more than 500, is refused."""
    support = await served(north, "amy")
    for count in (0, 501):
        with pytest.raises(Invalid):
            await recorded(north, support, *[held(0)] * count)


async def test_an_amendment_keeps_what_was_said(north: Town) -> None:
    """If a session is amended, the earlier values and the author are logged.

    If the amendment says that the student attended, the minutes become the planned ones and the reason is removed.
    """
    support = await served(north, "amy")
    (taken, other) = await recorded(north, support, held(0, attended=False, lost_because="absent"), held(0, 1))
    assert taken.session is not None
    teacher = await bound_to_person(north.engine, north.settings.keyring, north.client(ALL_SCOPES), "sis:sis:teacher-1")
    async with north.unit(teacher) as work:
        row = await amend_session(work, taken.session.id, SessionAmendment(attended=True))
        assert (row.delivered_minutes, row.lost_because, row.version) == (30, None, 2)
        unchanged = await amend_session(work, taken.session.id, SessionAmendment(attended=True))
        assert unchanged.version == 2
    async with north.unit() as work:
        (change,) = await changes_of(work, taken.session.id)
        assert change.changed_by == north.staff["teacher"]
        assert (change.before["attended"], change.before["lost_because"]) == (False, "absent")
        with pytest.raises(Invalid):
            await amend_session(work, taken.session.id, SessionAmendment(held_on=on(0, 1)))
        with pytest.raises(Invalid):
            await amend_session(work, taken.session.id, SessionAmendment(delivered_minutes=10))
    assert other.session is not None


async def test_a_removed_session_is_unknown_again_and_can_come_back(north: Town) -> None:
    """A removed session is not listed, and its day counts as unknown. If it is sent again, it is restored."""
    support = await served(north, "amy")
    (taken,) = await recorded(north, support, held(0, external_id="a"))
    assert taken.session is not None
    async with north.unit() as work:
        await remove_session(work, taken.session.id)
    async with north.unit() as work:
        page = await sessions(work, keyset(north.district_id, "sessions", {}, None, None), support.id)
        assert page.rows == []
        assert (await dosage_between(work, support.id, on(0), on(0, 4))).unknown_sessions == 3
        for gone in (session(work, taken.session.id), remove_session(work, taken.session.id)):
            with pytest.raises(NotFound):
                await gone
    (back,) = await recorded(north, support, held(0, external_id="a"))
    assert back.session is not None
    assert (back.outcome, back.session.id, back.session.version) == ("amended", taken.session.id, 3)


async def test_who_may(north: Town) -> None:
    """Recording sessions requires its permission; a teacher records and sees sessions of the caseload only."""
    amys, cys = await served(north, "amy"), await served(north, "cy")
    async with north.unit(north.client(ALL_SCOPES - {"session:record"})) as work:
        with pytest.raises(Forbidden):
            await record_sessions(work, amys.id, [held(0)])
    (taken,) = await recorded(north, cys, held(0))
    assert taken.session is not None
    teacher = await bound_to_person(north.engine, north.settings.keyring, north.client(ALL_SCOPES), "sis:sis:teacher-1")
    async with north.unit(teacher) as work:
        (mine,) = await record_sessions(work, amys.id, [held(0)])
        assert mine.session is not None
        assert mine.session.recorded_by == north.staff["teacher"]
        for refused in (
            record_sessions(work, cys.id, [held(1)]),
            session(work, taken.session.id),
            amend_session(work, taken.session.id, SessionAmendment(number=2)),
        ):
            with pytest.raises(NotFound):
                await refused


async def test_dosage_is_read_over_phases_and_breaks(north: Town) -> None:
    """Dosage is computed from the plan of each phase, and leaves out breaks.

    Unknown sessions and lost minutes are counted separately.
    """
    support = await served(north, "amy")
    async with north.unit() as work:
        await change_support(
            work,
            support.id,
            SupportChange(
                "More.",
                begins_on=on(4),
                sessions_per_week=5,
                minutes_per_session=20,
                baseline=45.0,
                confirm_rate=True,
            ),
        )
    await _take_off(north, on(2))
    await recorded(
        north,
        support,
        *(held(week, day) for week in (0, 1) for day in (0, 2, 4)),
        held(3, 0, delivered_minutes=10, lost_because="no_provider"),
        held(3, 1, attended=False, lost_because="absent"),
        *(held(4, day) for day in range(5)),
    )
    async with north.unit() as work:
        first, second = (await phases_of(work, [support.id]))[support.id]
        whole = await dosage_between(work, support.id, on(0), on(4, 6))
        last = await dosage_between(work, support.id, None, on(4, 6))
        by_phase = await _dosages(work, [DosageWindow(support, phase, on(0), on(4, 6)) for phase in (first, second)])
    assert [week.planned_sessions for week in whole.weeks] == [3, 3, 3, 5]
    assert (whole.planned_sessions, whole.delivered_sessions, whole.unknown_sessions) == (14, 12, 1)
    assert (whole.known_minutes, whole.delivered_minutes) == (8 * 30 + 5 * 20, 7 * 30 - 20 + 5 * 20)
    assert whole.lost == {"absent": 30, "no_provider": 20}
    assert (last.since, last.planned_sessions, last.share) == (on(4), 5, 1.0)
    assert [one.planned_sessions for one in by_phase] == [9, 5]
    assert by_phase[1].weeks == last.weeks


async def test_many_dosages_are_what_each_is_by_itself(north: Town) -> None:
    """The dosages of many supports, computed with few statements, equal the dosages computed one by one."""
    supports = [await served(north, name) for name in ("amy", "ben", "cy")]
    for place, support in enumerate(supports):
        await recorded(north, support, *(held(week) for week in range(place + 1)))
    async with north.unit() as work:
        phases = await phases_of(work, [one.id for one in supports])
        windows = [
            DosageWindow(one, phases[one.id][0], on(0), on(2 + place, 2))
            for place, one in enumerate(reversed(supports))
        ]
        together = await _dosages(work, windows)
        alone = [await _dosage(work, one) for one in windows]
        assert together == alone
        assert [one.delivered_sessions for one in together] == [3, 2, 1]
        assert await _dosages(work, []) == []
        nothing = await _dosage(work, DosageWindow(supports[0], phases[supports[0].id][0], on(0), on(-1)))
        assert (nothing.planned_sessions, nothing.share) == (0, None)


async def test_a_window_that_ends_before_it_begins_is_refused(north: Town) -> None:
    """A period that ends before it begins is refused."""
    support = await served(north, "amy")
    async with north.unit() as work:
        with pytest.raises(Invalid):
            await dosage_between(work, support.id, on(3), on(2))


@needs(Can.READ_SUPPORTS)
async def _dosages(work: Work, windows: list[DosageWindow]) -> list[Dosage]:
    return await dosages_of(work, windows)


@needs(Can.READ_SUPPORTS)
async def _dosage(work: Work, window: DosageWindow) -> Dosage:
    return (await dosages_of(work, [window]))[0]


@needs(Can.SYNC_ROSTER)
async def _off(work: Work, monday: date) -> None:
    mine = (SchoolWeek.district_id == work.district_id, SchoolWeek.monday == monday)
    await work.db.execute(update(SchoolWeek).where(*mine).values(instructional=False))


async def _take_off(town: Town, monday: date) -> None:
    async with town.house() as work:
        await _off(work, monday)


async def test_a_verdict_rests_on_what_was_delivered(north: Town) -> None:
    """If many sessions are recorded as not given, the verdict becomes "under-delivered".

    The verdict changes back if these sessions are amended or removed.
    """
    support = await served(north, "amy")
    async with north.unit() as work:
        await record_scores(work, weekly(north, "amy", RISES + STALLS))
        assert (await verdicts_now(work, [support.id]))[support.id].state == "off_track"
    lost = [held(week, day, attended=False, lost_because="no_provider") for week in range(11) for day in range(3)]
    async with north.unit() as work:
        taken = await judged.record_sessions(work, support.id, lost)
        assert (await verdicts_now(work, [support.id]))[support.id].state == "under_delivered"
    async with north.unit() as work:
        for one in taken:
            assert one.session is not None
            await judged.amend_session(work, one.session.id, SessionAmendment(attended=True))
        assert (await verdicts_now(work, [support.id]))[support.id].state == "off_track"
    async with north.unit() as work:
        for one in taken:
            assert one.session is not None
            await judged.remove_session(work, one.session.id)
        assert (await verdicts_now(work, [support.id]))[support.id].state == "off_track"
