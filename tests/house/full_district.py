"""Builds a district with rows of every kind, for tests that read or change everything.

Each text in it contains the district's canary: a word that no other district has.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

import asyncpg
from sqlalchemy import text as sql

from app.access.models import TestClock
from app.access.permission import Can
from app.access.work import Work, needs
from app.action.service import NewActionItem, agree_action_item
from app.agenda.conduct import close_meeting, open_meeting
from app.agenda.items import (
    ItemAction,
    NewAgendaItem,
    add_agenda_item,
    agree_at_agenda_item,
    discuss_agenda_item,
    note_at_agenda_item,
)
from app.calendar.service import NewCalendarLink, create_calendar_link
from app.concern.models import Concern
from app.concern.service import NewConcern, accept_concern, raise_concern
from app.core import ids
from app.core.address import Allowed
from app.core.clock import now
from app.core.ids import new_id
from app.core.page import keyset
from app.decision.service import NewDecision, decide
from app.events.consumers import NewConsumer, save_consumer
from app.evidence.amend import Amendment as ScoreAmendment
from app.evidence.attendance.service import NewAttendanceRecord, record_attendance
from app.evidence.screening.service import ExpectedMeasure, NewWindow, schedule_screening_window
from app.evidence.service import NewScore
from app.group.inputs import NewGroup, NewGroupSession, NewMember
from app.group.service import form_group
from app.group.sessions import record_group_sessions
from app.hypothesis.due import ask_about_hypotheses
from app.hypothesis.service import NewHypothesis, propose_hypothesis, test_with_support
from app.incident.lookup import load_kinds
from app.incident.service import NewIncident, record_incidents
from app.intervention.inputs import NewIntervention
from app.intervention.service import draft_interventions, publish_intervention
from app.meeting.protocols import NewProtocol, NewProtocolStep, publish_protocol
from app.meeting.scheduling import NewMeeting, NewSeries, schedule_meeting, schedule_series
from app.note.service import NewNote, amend_note, write_note
from app.playbook.benchmarks.service import NewBenchmark, publish_benchmarks
from app.playbook.hypotheses.lookup import locate_kind
from app.playbook.models import HypothesisKind
from app.playbook.service import publish_next_version
from app.playbook.structure.areas import NewArea, add_area, retire_area
from app.playbook.structure.levels import NewLevel, add_level, retire_level
from app.response.administration.breaks import declare_break
from app.response.administration.calibration import calibrate_district
from app.response.queries import verdicts_now
from app.response.service import amend_score, follow_measure, plan_support, record_scores, stop_measure
from app.response.upkeep.handover import NewHandover, hand_over_support
from app.roster.breaks import NewBreak
from app.roster.models import AcademicSession, ExternalId
from app.signal.compute import compute_signals
from app.signal.rulebook import NewSignalRule, publish_signal_rule
from app.signal.stalls.models import CoreStall
from app.sis.models import SisChange, SisPlannedChange, SisPlannedValue, SisQuarantine, SisRun
from app.sis.sources.service import register_source
from app.sis.sources.settings import SourceSettings as SourceSettings
from app.support.measures import NewSupportMeasure
from app.support.models import Support
from app.support.queries import phases_of
from app.support.service import NewSupport
from app.support.session import NewSession, SessionAmendment, amend_session, record_sessions
from app.team.rules import TeamPurpose
from app.team.scopes import NewTeamScope, add_team_scope
from app.team.service import NewTeam, NewTeamMember, add_team_member, form_team
from app.webhooks.deliver import dispatch
from app.webhooks.queries import deliveries
from app.webhooks.service import NewEndpoint, register_endpoint
from tests.rooms.gradebook_town import grade
from tests.town import YEAR_BEGINS, Town

BEGINS = YEAR_BEGINS + timedelta(weeks=2)
RISES_THEN_STALLS = [42.0, 44.0, 45.0, 47.0, 48.0, 47.0, 47.0, 46.0, 47.0, 47.0]
ALIAS_KIND = {"student": "person", "person": "person", "org": "org", "class": "class"}


@dataclass
class FullDistrict:
    """A district with rows of all kinds. Each row has a name in the tests.

    `shown` has the public ids of the rows, keyed by name. `alias` has the ids that the rows have in the source.
    """

    town: Town
    shown: dict[str, str] = field(default_factory=dict)
    alias: dict[str, str] = field(default_factory=dict)

    def note(self, name: str, kind: str, row_id: UUID) -> str:
        """Stores a row's id under a name, and returns the public id."""
        self.shown[name] = ids.format_id(kind, row_id)
        return self.shown[name]


@needs(Can.OPERATE)
async def _add_test_clock(work: Work) -> None:
    work.db.add(TestClock(district_id=work.district_id))


async def fill_district(town: Town) -> FullDistrict:
    """Fills the district with rows of each kind, such as concerns, supports and scores in every state; returns it."""
    district = FullDistrict(town)
    async with town.house() as work:
        await _add_test_clock(work)
    await _names(district)
    for code in ("ela.fluency", "sel"):
        district.note(f"area {code}", "area", town.areas[code])
    district.note("measure", "measure", town.measures["orf"])
    district.note("level", "level", town.levels[2])
    async with town.unit() as work:
        norm = NewBenchmark("orf", "03", f"Norms {town.canary}", realistic_growth=1.0)
        (saved,) = await publish_benchmarks(work, [norm])
        assert saved.benchmark is not None
        district.note("benchmark", "benchmark", saved.benchmark.id)
    await _windows(district)
    await _signals(district)
    await _core_stalls(district)
    await _attendance(district)
    await _incidents(district)
    await _structure(district)
    await grade(town)
    await _library(district)
    await _breaks(district)
    await _endpoint(district)
    await _consumer(district)
    await _sync(district)
    for name, student, state in (
        ("concern", "amy", "raised"),
        ("concern to dismiss", "amy", "raised"),
        ("concern to resolve", "amy", "accepted"),
        ("concern to serve", "amy", "accepted"),
        ("concern of ben", "ben", "accepted"),
        ("concern of cy", "cy", "raised"),
    ):
        district.note(name, "concern", (await _concern(district, student, state)).id)
    district.note("secured concern", "concern", (await _concern(district, "amy", "raised", "sel")).id)
    await _notes(district)
    await _hypotheses(district)
    await _teams(district)
    await _meetings(district)
    await _action_items(district)
    await _supports(district)
    await _sessions(district)
    await _groups(district)
    async with town.house() as work:
        await dispatch(work)
    async with town.unit() as work:
        endpoint_id = ids.parse_id("endpoint", district.shown["endpoint"])
        page = await deliveries(work, endpoint_id, keyset(town.district_id, "deliveries", {}, None, None))
    district.note("delivery", "delivery", page.rows[0].delivery.id)
    return district


async def _structure(district: FullDistrict) -> None:
    """Adds areas and levels that only this district has. Some of them are retired."""
    town = district.town
    for name in ("to order", "to retire", "to restore"):
        async with town.unit() as work:
            area = await add_area(work, NewArea(name.replace(" ", "-"), f"Area {town.canary}"))
            district.note(f"area {name}", "area", area.id)
            level = await add_level(work, NewLevel(f"Level {town.canary}"))
            district.note(f"level {name}", "level", level.id)
            if name == "to restore":
                await retire_area(work, area.id)
                await retire_level(work, level.id)
            district.note("playbook", "playbook", (await publish_next_version(work)).id)


async def rows_of(db: asyncpg.Connection, district_id: UUID) -> dict[str, tuple[int, str]]:
    """Returns, for each table, how many rows of the district it has, and a digest of all their bytes."""
    rows = {}
    for table in await _tables(db):
        row = await db.fetchrow(
            f"SELECT count(*) AS n, md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) AS digest "
            f'FROM "{table}" t WHERE district_id = $1',
            district_id,
        )
        assert row is not None
        rows[table] = (row["n"], row["digest"])
    return rows


async def ids_of(db: asyncpg.Connection, district_id: UUID) -> set[UUID]:
    """Returns the ids in all rows of the district, and the id of the district itself."""
    row_ids = {district_id}
    for table in await _tables(db):
        columns = [
            row["name"]
            for row in await db.fetch(
                "SELECT attname::text AS name FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 "
                "AND NOT attisdropped AND atttypid = 'uuid'::regtype",
                f'"{table}"',
            )
        ]
        for row in await db.fetch(
            f'SELECT {", ".join(columns)} FROM "{table}" WHERE district_id = $1',
            district_id,
        ):
            row_ids.update(value for value in row.values() if value is not None)
    return row_ids


def spellings(row_ids: Iterable[UUID]) -> dict[str, UUID]:
    """Returns each id in every form in which it could be in an answer."""
    spelt = {}
    for row_id in row_ids:
        for text in (ids.format_id("student", row_id).partition("_")[2], str(row_id), row_id.hex):
            spelt[text] = row_id
    return spelt


async def _tables(db: asyncpg.Connection) -> list[str]:
    return [
        row["name"]
        for row in await db.fetch(
            "SELECT c.relname::text AS name FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
            "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') "
            "AND a.attname = 'district_id' ORDER BY c.relname"
        )
    ]


async def _names(district: FullDistrict) -> None:
    """Stores external ids that no other district has for some rows, and adds a school term of the source."""
    town = district.town
    people = {"student": ("student", town.students["amy"]), "person": ("person", town.staff["teacher"])}
    rows = people | {"org": ("org", town.schools[0]), "class": ("class", town.classes[0])}
    for name, (kind, row_id) in rows.items():
        district.note(name, kind, row_id)
        district.alias[name] = f"sis:sis:only-{town.slug}-{name}"
    for name in ("ben", "cy"):
        district.note(name, "student", town.students[name])
    district.note("other person", "person", town.staff["aide"])
    district.note("administrator", "person", town.staff["administrator"])

    @needs(Can.SYNC_ROSTER)
    async def add(work: Work) -> None:
        for name, (kind, row_id) in rows.items():
            sourced_id = district.alias[name].rsplit(":", 1)[-1]
            work.db.add(
                ExternalId(
                    district_id=town.district_id,
                    source_id=town.source_id,
                    kind=ALIAS_KIND[kind],
                    sourced_id=sourced_id,
                    row_id=row_id,
                )
            )
        title, until = f"Term {town.canary}", YEAR_BEGINS + timedelta(weeks=18)
        of = {"district_id": town.district_id, "id": new_id()}
        district.note("term", "academic_session", of["id"])
        work.db.add(AcademicSession(**of, title=title, type="term", starts_on=YEAR_BEGINS, ends_on=until))
        await work.db.flush()

    async with town.house() as work:
        await add(work)


async def _concern(district: FullDistrict, student: str, state: str, area: str = "ela.fluency") -> Concern:
    town = district.town
    new = NewConcern(
        ids.format_id("student", town.students[student]), area, f"Worry {town.canary}", district.shown["person"]
    )
    async with town.unit() as work:
        concern = await raise_concern(work, new)
        if state == "accepted":
            concern = await accept_concern(work, concern.id, f"Because {town.canary}")
    return concern


async def _library(district: FullDistrict) -> None:
    """Adds entries without checklists to the intervention library: two published ones and a draft."""
    town = district.town
    codes = {"library entry": "repeated-reading", "entry to retire": "phonics", "draft": "spelling"}
    new = [
        NewIntervention(code=code, name=f"Entry {town.canary}", areas=("ela.fluency",), levels=(2,))
        for code in codes.values()
    ]
    async with town.unit() as work:
        for name, saved in zip(codes, await draft_interventions(work, new), strict=True):
            assert saved.entry is not None
            district.note(name, "intervention", saved.entry.id)
            if name != "draft":
                await publish_intervention(work, saved.entry.id)
    district.shown["intervention"] = district.shown["library entry"]


async def _notes(district: FullDistrict) -> None:
    town = district.town
    async with town.unit() as work:
        new = NewNote(district.shown["concern"], f"Note {town.canary}")
        district.note("note", "note", (await write_note(work, new)).id)


async def _hypotheses(district: FullDistrict) -> None:
    town = district.town
    async with town.unit() as work:
        district.note("hypothesis kind", "hypothesis_kind", (await _kind(work, "health")).id)
        for name in ("hypothesis", "hypothesis to close"):
            texts = (f"Statement {town.canary}", f"Refuted {town.canary}")
            new = NewHypothesis(district.shown["concern"], "skill", *texts)
            district.note(name, "hypothesis", (await propose_hypothesis(work, new)).id)


@needs(Can.READ_PLAYBOOK)
async def _kind(work: Work, code: str) -> HypothesisKind:
    return await locate_kind(work, code, "/kind")


async def _support(district: FullDistrict, student: str, *, start: bool, concerns: tuple[str, ...] = ()) -> Support:
    town = district.town
    new = NewSupport(
        student=ids.format_id("student", town.students[student]),
        intervention=f"Reading {town.canary}",
        level=2,
        measure="orf",
        starts_on=BEGINS,
        goal=70.0,
        goal_on=BEGINS + timedelta(weeks=20),
        minutes_per_session=30,
        sessions_per_week=3,
        baseline=40.0,
        confirm_rate=True,
        concerns=concerns,
        lead=district.shown["person"] if student == "amy" else None,
        starts="on_its_day" if start else "manually",
    )
    async with town.unit() as work:
        return await plan_support(work, new)


async def _followed(district: FullDistrict) -> None:
    """Adds a support without a measure, and sets the review date of this support to a past day.

    Sets three dates of another support to the same day: when the student moved, when the lead left, and the goal date.
    """
    town = district.town
    new = NewSupport(
        student=ids.format_id("student", town.students["cy"]),
        intervention=f"Mentoring {town.canary}",
        level=2,
        area="ela.fluency",
        starts_on=BEGINS,
        review_on=YEAR_BEGINS + timedelta(weeks=20),
        minutes_per_session=10,
        sessions_per_week=5,
    )
    async with town.unit() as work:
        reviewed = await plan_support(work, new)
    async with town.house() as work:
        await _age(work, reviewed.id, ids.parse_id("support", district.shown["support of cy"]))


@needs(Can.JUDGE)
async def _age(work: Work, reviewed: UUID, moved: UUID) -> None:
    for statement, support_id in (
        ("UPDATE support SET review_on = :day WHERE district_id = :district AND id = :id", reviewed),
        ("UPDATE support SET unled_since = :day, moved_on = :day WHERE district_id = :district AND id = :id", moved),
        ("UPDATE phase SET goal_on = :day WHERE district_id = :district AND support_id = :id", moved),
    ):
        values = {"district": work.district_id, "id": support_id, "day": BEGINS + timedelta(weeks=6)}
        await work.db.execute(sql(statement), values)


async def _supports(district: FullDistrict) -> None:
    town = district.town
    support = await _support(district, "amy", start=True, concerns=(district.shown["concern to serve"],))
    district.note("support", "support", support.id)
    district.note("support of cy", "support", (await _support(district, "cy", start=True)).id)
    district.note("support to end", "support", (await _support(district, "ben", start=True)).id)
    district.note("support to start", "support", (await _support(district, "ben", start=False)).id)
    await _followed(district)
    await _further_measures(district)
    async with town.unit() as work:
        await test_with_support(
            work, ids.parse_id("hypothesis", district.shown["hypothesis"]), district.shown["support"]
        )
    scores = [
        NewScore(district.shown["student"], "orf", BEGINS + timedelta(weeks=week), value, form=f"Form {town.canary}")
        for week, value in enumerate(RISES_THEN_STALLS, start=1)
    ]
    scores += [
        NewScore(district.shown["cy"], "orf", BEGINS + timedelta(weeks=1), 40.0),
        NewScore(district.shown["ben"], "orf", BEGINS + timedelta(weeks=1), 41.0),
    ]
    async with town.unit() as work:
        taken = await record_scores(work, scores)
    for name, one in zip(("score", "score to change", "score to remove"), taken, strict=False):
        assert one.score is not None
        district.note(name, "score", one.score.id)
    async with town.unit() as work:
        amendment = ScoreAmendment(f"Because {town.canary}", by=district.shown["person"], value=43.0)
        await amend_score(work, ids.parse_id("score", district.shown["score"]), amendment)
    async with town.house() as work:
        await calibrate_district(work)
        assert await ask_about_hypotheses(work) == 1
    async with town.unit() as work:
        district.note("verdict", "verdict", (await verdicts_now(work, [support.id]))[support.id].id)
        district.note("phase", "phase", (await phases_of(work, [support.id]))[support.id][0].id)
        on = BEGINS + timedelta(weeks=11)
        new = NewDecision("continue", district.shown["support"], decided_on=on, note=f"Note {town.canary}")
        district.note("decision", "decision", (await decide(work, new)).id)
        for name in ("ben", "cy"):
            await decide(work, NewDecision("refer", student=district.shown[name], decided_on=on))
    await _handed_over(district, support.id)


async def _handed_over(district: FullDistrict, support_id: UUID) -> None:
    """Hands a support over to another person and back, and adds another measure to it for a while."""
    async with district.town.unit() as work:
        for name in ("other person", "person"):
            person = district.shown[name]
            new = NewHandover(because=f"Because {district.town.canary}", lead=person, provider=person)
            await hand_over_support(work, support_id, new)
        further = NewSupportMeasure(measure="maze", goal=25.0, baseline=10.0)
        await follow_measure(work, support_id, further)
        await stop_measure(work, support_id, "maze")  # its verdict is then that of one measure again


async def _further_measures(district: FullDistrict) -> None:
    """Adds two supports with the measure `maze`. One of them also has the measure `orf`."""
    town = district.town
    for name in ("support to follow", "support to stop"):
        plan = NewSupport(
            student=ids.format_id("student", town.students["ben"]),
            intervention=f"Reading {town.canary}",
            level=2,
            measure="maze",
            starts_on=BEGINS,
            goal=25.0,
            goal_on=BEGINS + timedelta(weeks=20),
            minutes_per_session=30,
            sessions_per_week=3,
            baseline=10.0,
        )
        async with town.unit() as work:
            support = await plan_support(work, plan)
            district.note(name, "support", support.id)
            if name == "support to stop":
                further = NewSupportMeasure(measure="orf", goal=60.0, baseline=40.0, confirm_rate=True)
                await follow_measure(work, support.id, further)


async def _groups(district: FullDistrict) -> None:
    """Forms four groups of one student each, and records a session of the first group. The last has lost its lead."""
    town = district.town
    for name, student in (
        ("group", "amy"),
        ("group to join", "ben"),
        ("group to leave", "amy"),
        ("group to end", "ben"),
    ):
        new = NewGroup(
            school=district.shown["org"],
            name=f"Group {town.canary}",
            lead=district.shown["person"] if student == "amy" else None,
            intervention=f"Reading {town.canary}",
            level=2,
            measure="orf",
            starts_on=BEGINS,
            goal_on=BEGINS + timedelta(weeks=20),
            minutes_per_session=30,
            sessions_per_week=3,
            members=(
                NewMember(
                    student=ids.format_id("student", town.students[student]),
                    goal=70.0,
                    baseline=40.0,
                    confirm_rate=True,
                ),
            ),
        )
        async with town.unit() as work:
            district.note(name, "group", (await form_group(work, new)).id)
    async with town.unit() as work:
        group_id = ids.parse_id("group", district.shown["group"])
        await record_group_sessions(work, group_id, [NewGroupSession(held_on=BEGINS, external_id=f"{town.slug}-1")])
    async with town.house() as work:
        await _lose_lead(work, ids.parse_id("group", district.shown["group to end"]), town.staff["other_teacher"])


@needs(Can.JUDGE)
async def _lose_lead(work: Work, group_id: UUID, elsewhere: UUID) -> None:
    """Makes a person of another school the lead of a group, as if the lead had moved there."""
    statement = sql("UPDATE support_group SET lead_id = :lead WHERE district_id = :district AND id = :id")
    await work.db.execute(statement, {"district": work.district_id, "id": group_id, "lead": elsewhere})


async def _sessions(district: FullDistrict) -> None:
    named = {"session": 0, "session to amend": 1, "session to remove": 2}
    async with district.town.unit() as work:
        for name in ("support", "support of cy", "support to end"):
            support_id = ids.parse_id("support", district.shown[name])
            new = [
                NewSession(BEGINS + timedelta(days=day), attended=True, external_id=f"{name}-{day}")
                for day in named.values()
            ]
            taken = [one.session for one in await record_sessions(work, support_id, new)]
            assert all(taken)
            for row, called in zip(taken, named, strict=True):
                if row is not None and name == "support":
                    district.note(called, "session", row.id)
            if taken[0] is not None:
                await amend_session(
                    work, taken[0].id, SessionAmendment(delivered_minutes=20, lost_because="no_provider")
                )


async def _teams(district: FullDistrict) -> None:
    """Adds three teams, each with the aide as a member and with the student cy.

    The aide may see cy only because of these teams.
    """
    town = district.town
    aide, cy = NewTeamMember("sis:sis:aide-1"), NewTeamScope(student=district.shown["cy"])
    for name, of_school in (("team", True), ("team to archive", False), ("team to leave", True)):
        async with town.unit() as work:
            school = district.shown["org"] if of_school else None
            team = await form_team(work, NewTeam(f"Team {town.canary}", TeamPurpose.GRADE, school))
            district.note(name, "team", team.id)
            member = (await add_team_member(work, team.id, aide)).row
            scope = (await add_team_scope(work, team.id, cy)).row
            district.note(f"membership of {name}", "team_member", member.id)
            district.note(f"scope of {name}", "team_scope", scope.id)
    async with town.unit() as work:
        later = NewTeamMember("sis:sis:teacher-1", from_on=BEGINS + timedelta(weeks=30))
        await add_team_member(work, ids.parse_id("team", district.shown["team to leave"]), later)
    district.shown["membership"] = district.shown["membership of team"]
    district.shown["membership to end"] = district.shown["membership of team to leave"]
    district.shown["scope to end"] = district.shown["scope of team to leave"]


@needs(Can.READ_MEETINGS)
async def _first_meeting(work: Work, series_id: UUID) -> UUID:
    query = sql("SELECT id FROM meeting WHERE district_id = :district AND series_id = :series ORDER BY id LIMIT 1")
    return UUID(str(await work.db.scalar(query, {"district": work.district_id, "series": series_id})))


async def _meetings(district: FullDistrict) -> None:
    """Adds protocols, series of meetings, single meetings, calendar links and agenda items."""
    town = district.town
    for name in ("protocol", "protocol to retire"):
        async with town.unit() as work:
            step = NewProtocolStep(f"Step {town.canary}", 5, f"Question {town.canary}")
            protocol = NewProtocol(name.replace(" ", "-"), f"Protocol {town.canary}", (step,))
            district.note(name, "protocol", (await publish_protocol(work, protocol)).id)
    for hour, name in enumerate(("series", "series to end"), 10):
        async with town.unit() as work:
            begins_at = f"{(now() + timedelta(days=2)).date()}T{hour}:00"
            terms = (begins_at, "FREQ=WEEKLY;COUNT=2", 30, f"Place {town.canary}", district.shown["protocol"])
            series = await schedule_series(work, NewSeries(district.shown["team"], *terms))
            district.note(name, "meeting_series", series.id)
            if name == "series":
                district.note("meeting", "meeting", await _first_meeting(work, series.id))
    async with town.unit() as work:
        team = await form_team(work, NewTeam(f"Team {town.canary}", TeamPurpose.GRADE, district.shown["org"]))
        await add_team_scope(work, team.id, NewTeamScope(student=district.shown["cy"], from_on=BEGINS))
        await add_team_member(work, team.id, NewTeamMember("sis:sis:aide-1", from_on=BEGINS))
        district.note("team that meets", "team", team.id)
    for name, team_name in (
        *((name, "team") for name in ("meeting to cancel", "meeting to close")),
        *(("meeting to open", "team to leave"), ("meeting with items", "team that meets")),
    ):
        async with town.unit() as work:
            of_team, place = district.shown[team_name], f"Place {town.canary}"
            new = NewMeeting(of_team, now(), 30, place, district.shown["protocol"])
            meeting = await schedule_meeting(work, new)
            district.note(name, "meeting", meeting.id)
            if name in ("meeting to close", "meeting with items"):
                await open_meeting(work, meeting.id, ["sis:sis:teacher-1"])
    for name in ("calendar link", "calendar link to revoke"):
        async with town.unit() as work:
            created = await create_calendar_link(work, NewCalendarLink(district.shown["team"]), "http://aimline.test")
            district.note(name, "calendar_link", created.row.id)
    await _closed_meeting(district)
    for name in ("agenda item", "item to discuss", "item to carry", "item to drop"):
        async with town.unit() as work:
            item = NewAgendaItem(district.shown["team that meets"], f"Item {town.canary}", district.shown["cy"])
            district.note(name, "agenda_item", (await add_agenda_item(work, item)).id)
    await _notes_at_items(district)


async def _notes_at_items(district: FullDistrict) -> None:
    """Adds a note on an item about a student, and a note on an item about a team only. The second note is amended."""
    town = district.town
    async with town.unit() as work:
        item = await add_agenda_item(work, NewAgendaItem(district.shown["team that meets"], f"Item {town.canary}"))
        district.note("item of no student", "agenda_item", item.id)
    for name in ("agenda item", "item of no student"):
        async with town.unit() as work:
            item_id = ids.parse_id("agenda_item", district.shown[name])
            note = await note_at_agenda_item(work, item_id, f"Note {town.canary}")
            district.note(f"note at {name}", "note", note.id)
    async with town.unit() as work:
        note_id = ids.parse_id("note", district.shown["note at item of no student"])
        await amend_note(work, note_id, f"Note {town.canary} again", f"Because {town.canary}")


async def _closed_meeting(district: FullDistrict) -> None:
    """Adds a closed meeting of the administrator's team, with notes about amy.

    The administrator could see amy even without this team.
    """
    town, about = district.town, f"Item {district.town.canary}"
    async with town.unit() as work:
        team = await form_team(work, NewTeam(f"Team {town.canary}", TeamPurpose.LEADERSHIP, district.shown["org"]))
        await add_team_scope(work, team.id, NewTeamScope(student=district.shown["student"]))
        await add_team_member(work, team.id, NewTeamMember("sis:sis:administrator-1"))
        team_id = ids.format_id("team", team.id)
        await add_agenda_item(work, NewAgendaItem(team_id, about, district.shown["student"]))
        meeting = await schedule_meeting(work, NewMeeting(team_id, now(), 30, f"Place {town.canary}"))
        district.note("closed meeting", "meeting", meeting.id)
    async with town.unit() as work:
        await open_meeting(work, meeting.id, ["sis:sis:administrator-1"])
        item_id = await _own_item(work, meeting.id)
        action = ItemAction(f"Action {town.canary}", BEGINS + timedelta(weeks=30), "sis:sis:administrator-1")
        await agree_at_agenda_item(work, item_id, action)
        await discuss_agenda_item(work, item_id, f"Minutes {town.canary}")
        await close_meeting(work, meeting.id, carry_rest=True)


@needs(Can.READ_MEETINGS)
async def _own_item(work: Work, meeting_id: UUID) -> UUID:
    query = sql("SELECT id FROM agenda_item WHERE district_id = :district AND meeting_id = :meeting AND kind = 'own'")
    return UUID(str(await work.db.scalar(query, {"district": work.district_id, "meeting": meeting_id})))


async def _action_items(district: FullDistrict) -> None:
    """Adds two action items about amy for a team of the administrator, and one item for the aide's team.

    The administrator may see amy in any case, and not only because of the new team.
    """
    town, student = district.town, district.shown["student"]
    async with town.unit() as work:
        team = await form_team(work, NewTeam(f"Team {town.canary}", TeamPurpose.LEADERSHIP, district.shown["org"]))
        await add_team_member(work, team.id, NewTeamMember("sis:sis:administrator-1"))
        await add_team_scope(work, team.id, NewTeamScope(student=student))
    for name in ("action item", "action item to close"):
        async with town.unit() as work:
            text, due_on = f"Action {town.canary}", BEGINS + timedelta(weeks=30)
            whom = {"owner": "sis:sis:administrator-1", "student": student}
            new = NewActionItem(ids.format_id("team", team.id), text, due_on, **whom)
            district.note(name, "action_item", (await agree_action_item(work, new)).id)
    async with town.unit() as work:
        new = NewActionItem(district.shown["team"], f"Action {town.canary}", BEGINS, "sis:sis:aide-1")
        await agree_action_item(work, new)


async def _signals(district: FullDistrict) -> None:
    """Publishes two rules about screening, records low screening scores of amy, and computes the signals."""
    town = district.town
    for name in ("signal rule", "signal rule to retire"):
        async with town.unit() as work:
            rule = await publish_signal_rule(
                work, NewSignalRule(name.replace(" ", "-"), "screening_under_cut", days=365)
            )
        district.note(name, "signal_rule", rule.id)
    async with town.unit() as work:
        taken = [
            NewScore(district.shown["student"], "orf", BEGINS + timedelta(weeks=weeks), 5.0, purpose="screening")
            for weeks in range(0, 12, 2)
        ]
        await record_scores(work, taken)
    async with town.house() as work:
        await compute_signals(work)

    @needs(Can.READ_SIGNALS)
    async def signals_of(work: Work) -> list[UUID]:
        query = sql("SELECT id FROM signal WHERE district_id = :district ORDER BY id")
        return list(await work.db.scalars(query, {"district": town.district_id}))

    async with town.unit() as work:
        in_lists = ("signal to accept in a list", "signal to dismiss in a list", "signal to merge in a list")
        names = ("signal", "signal to dismiss", "signal to merge", *in_lists)
        for name, row_id in zip(names, await signals_of(work), strict=True):
            district.note(name, "signal", row_id)


async def _attendance(district: FullDistrict) -> None:
    """Adds absences of amy."""
    async with district.town.unit() as work:
        days = {"attendance": BEGINS, "attendance to remove": BEGINS + timedelta(days=1)}
        new = [
            NewAttendanceRecord(
                district.shown["student"],
                day,
                "absent",
                f"P {district.town.canary}",
                district.shown["class"],
                external_id=f"{name} {district.town.canary}",
            )
            for name, day in days.items()
        ]
        results = await record_attendance(work, new, positions=(0, 1))
        for name, result in zip(days, results, strict=True):
            district.note(name, "attendance_record", result.row.id)


async def _incidents(district: FullDistrict) -> None:
    """Adds incidents in which amy was involved."""
    canary = district.town.canary
    async with district.town.unit() as work:
        names = ("incident", "incident to remove")
        new = [
            NewIncident(
                district.shown["student"],
                datetime.combine(BEGINS, time(12, place), UTC),
                "disruption",
                f"Place {canary}",
                f"Response {canary}",
                "event-2026-0417",
                f"{name} {canary}",
            )
            for place, name in enumerate(names)
        ]
        results = await record_incidents(work, new, positions=(0, 1))
        for name, result in zip(names, results, strict=True):
            district.note(name, "incident", result.row.id)
        district.note("incident kind", "incident_kind", await _kind_of_incident(work, "other"))


@needs(Can.READ_PLAYBOOK)
async def _kind_of_incident(work: Work, code: str) -> UUID:
    return next(kind.id for kind in await load_kinds(work) if kind.code == code)


async def _core_stalls(district: FullDistrict) -> None:
    """Adds two core stalls of the third grade. A core stall is a grade whose share of students at the benchmark fell.

    The rows are inserted directly, because the district has too few students for Aimline to compute a core stall.
    """
    town = district.town
    names = ("core stall", "core stall to dismiss")

    @needs(Can.JUDGE)
    async def add_stalls(work: Work) -> None:
        for name in names:
            stall = CoreStall(
                district_id=town.district_id,
                id=new_id(),
                rule_id=ids.parse_id("signal_rule", district.shown["signal rule"], ""),
                window_id=ids.parse_id("screening_window", district.shown["window to move"], ""),
                window_before_id=ids.parse_id("screening_window", district.shown["window"], ""),
                measure_id=town.measures["orf"],
                area_id=town.areas["ela.fluency"],
                school_id=town.schools[0],
                grade="03",
                state="suggested",
                digest=f"{name} {town.canary}",
                seen_on=BEGINS,
                fell_by=12,
                counted_at_least=50,
                created_at=now(),
                version=1,
            )
            work.db.add(stall)
            await work.db.flush()
            district.note(name, "core_stall", stall.id)

    async with town.house() as work:
        await add_stalls(work)


async def _windows(district: FullDistrict) -> None:
    """Adds screening windows of the school. The results of one window are stored."""
    names = ("window", "window to move", "window to cancel", "fourth window", "fifth window", "sixth window")
    for place, name in enumerate(names):
        opens = BEGINS + timedelta(weeks=2 * place)
        new = NewWindow(
            season="fall",
            opens_on=opens,
            closes_on=opens + timedelta(weeks=2),
            expected=(ExpectedMeasure("orf", ("03",)),),
            school=district.shown["org"],
            group_by="sex",
        )
        async with district.town.unit() as work:
            window = await schedule_screening_window(work, new)
        district.note(name, "screening_window", window.id)


async def _breaks(district: FullDistrict) -> None:
    """Adds days off, too few of them to make a whole week a break."""
    town = district.town
    for place, name in enumerate(("break", "break to remove")):
        on = BEGINS + timedelta(weeks=30 + place)
        new = NewBreak(on, on + timedelta(days=1), district.shown["org"], f"Break {town.canary}")
        async with town.unit() as work:
            district.note(name, "break", (await declare_break(work, new)).row.id)


async def _endpoint(district: FullDistrict) -> None:
    town = district.town
    url = f"http://127.0.0.1:9999/{town.canary.lower()}"
    new = NewEndpoint(url, ("concern.raised", "response.stopped"), f"Hook {town.canary}")
    async with town.unit() as work:
        made, _ = await register_endpoint(work, new, Allowed(sandbox=True))
    district.note("endpoint", "endpoint", made.id)


async def _consumer(district: FullDistrict) -> None:
    """Creates a consumer of the feed that begins with the first event, under a name that no other consumer has."""
    district.shown["consumer"] = f"reader-{secrets.token_hex(4)}"
    async with district.town.unit() as work:
        place, _ = await save_consumer(work, district.shown["consumer"], NewConsumer(begin="beginning"))
    district.shown["cursor of consumer"] = place.cursor


async def _sync(district: FullDistrict) -> None:
    town, run_id = district.town, new_id()
    held = {"held run": new_id(), "held run to discard": new_id(), "held run to rekey": new_id()}
    undone_id = new_id()
    url = f"http://127.0.0.1:9999/{town.canary.lower()}"
    new = SourceSettings("oneroster-1.1", url, client_id=town.canary, client_secret=town.canary)
    async with town.unit() as work:
        source = await register_source(work, f"source-{town.canary}", new, Allowed(sandbox=True))
        csv = await register_source(work, f"csv-{town.canary}", SourceSettings("oneroster-csv", "upload:"))
        scores = await register_source(work, f"scores-{town.canary}", SourceSettings("scores-csv", "upload:"))
        keys = await register_source(work, f"keys-{town.canary}", SourceSettings("oneroster-csv", "upload:"))
    district.note("source", "source", source.source.id)
    district.note("source of csv", "source", csv.source.id)
    district.note("source of scores", "source", scores.source.id)

    @needs(Can.SYNC_ROSTER)
    async def ran(work: Work) -> None:
        of = {"district_id": town.district_id}
        report = {"counts": {}, "warnings": [], "sentence": f"Done {town.canary}."}
        of_run = {"state": "applied", "dry": False, "began_at": now(), "ended_at": now()}
        work.db.add(SisRun(**of, id=run_id, source_id=town.source_id, **of_run, **report))
        await work.db.flush()
        work.db.add(SisRun(**of, id=undone_id, source_id=town.source_id, **of_run, **report))
        for name, held_id in held.items():
            rekeyed = name == "held run to rekey"
            files = {"person": {"file": "users.csv", "header": ["identifier"]}} if rekeyed else {}
            more = {"plan": {"digest": "0123456789abcdef", "files": files}, "held_because": [f"Few {town.canary}."]}
            # One that is asked for waits for no other of its source.
            source_id = keys.source.id if rekeyed else town.source_id
            run = SisRun(
                **of, id=held_id, source_id=source_id, state="held", dry=False, began_at=now(), **report, **more
            )
            work.db.add(run)
        touched = {"row_id": town.students["amy"], "before": {"given_name": f"Was {town.canary}"}}
        work.db.add(SisChange(**of, id=new_id(), run_id=run_id, kind="person", action="absent", **touched))
        await work.db.flush()
        about = {"run_id": run_id, "student_id": town.students["amy"], "org_ids": [town.schools[0]]}
        names = {"given_name": [f"Was {town.canary}", f"Is {town.canary}"]}
        row = {"kind": "person", "action": "update", "row_id": town.students["amy"], "sourced_id": town.canary}
        planned = SisPlannedChange(**of, id=new_id(), **about, **row, fields={"given_name": ["0a", "0b", True]})
        work.db.add(planned)
        await work.db.flush()
        work.db.add(SisPlannedValue(**of, id=planned.id, **about, personal=names))
        where = {"kind": "users", "file": f"users {town.canary}", "row_number": 7, "field": "email", "code": "bad"}
        work.db.add(SisQuarantine(**of, id=new_id(), run_id=run_id, acknowledged=False, **where))
        await work.db.flush()

    async with town.house() as work:
        await ran(work)
    district.note("run", "run", run_id)
    district.note("run to undo", "run", undone_id)
    for name, held_id in held.items():
        district.note(name, "run", held_id)
