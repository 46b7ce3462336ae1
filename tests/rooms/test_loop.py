"""Tests the whole loop: a concern, a support, scores that stop rising, a verdict, a decision, and their events."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import select

from app.access.models import Disclosure
from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.queries import ConcernFilter
from app.concern.service import NewConcern, accept_concern, raise_concern
from app.core import ids
from app.core.errors import Conflict, Forbidden, Invalid
from app.core.page import keyset
from app.decision.queries import story
from app.decision.service import NewDecision, decide
from app.events.feed import events_after
from app.evidence.service import NewScore
from app.response.queries import verdicts_now
from app.response.service import change_support, record_scores, start_support
from app.support.models import Support
from app.support.queries import phases_of, unserved_concerns
from app.support.service import NewSupport, SupportChange, plan_support
from app.team.caseload import bound_to_person
from tests.town import ALL_SCOPES, YEAR_BEGINS, Town, by_four_points

BEGINS = YEAR_BEGINS + timedelta(weeks=2)


def stu(town: Town, name: str) -> str:
    """Returns a student's id in its public form."""
    return ids.format_id("student", town.students[name])


def support_for(town: Town, name: str, **more: object) -> NewSupport:
    """Returns the input of a reading support at level 2 with a goal of 1.5 words a week."""
    plan: dict[str, object] = {
        "student": stu(town, name),
        "intervention": "Repeated reading in a small group",
        "level": 2,
        "measure": "orf",
        "starts_on": BEGINS,
        "goal": 70.0,
        "goal_on": BEGINS + timedelta(weeks=20),
        "baseline": 40.0,
        "minutes_per_session": 30,
        "sessions_per_week": 3,
        "confirm_rate": True,
    }
    return NewSupport(**(plan | more))  # type: ignore[arg-type]  # fields by name


def weekly(town: Town, name: str, values: list[float]) -> list[NewScore]:
    """Returns one score a week with these values, from the support's first full week on."""
    return [
        NewScore(stu(town, name), "orf", BEGINS + timedelta(weeks=week), value)
        for week, value in enumerate(values, start=1)
    ]


async def served(town: Town, name: str) -> Support:
    """Creates an active support under the four-point rule, and returns it."""
    await by_four_points(town)
    async with town.unit() as work:
        planned = await plan_support(work, support_for(town, name))
        return await start_support(work, planned.id)


RISES = [42.0, 44.0, 45.0, 47.0, 48.0]
STALLS = [47.0, 47.0, 46.0, 47.0, 47.0]


async def test_a_student_who_stops_is_found_and_told_once(north: Town) -> None:
    """A student who responds first and then stops causes one event, `response.off_track`.

    The event is recorded in the transaction of the score that shows it.
    """
    support = await served(north, "amy")
    async with north.unit() as work:
        await record_scores(work, weekly(north, "amy", RISES))
        assert (await verdicts_now(work, [support.id]))[support.id].state == "responding"
    async with north.unit() as work:
        taken = await record_scores(work, weekly(north, "amy", RISES + STALLS)[len(RISES) :])
        assert {one.outcome for one in taken} == {"recorded"}
        verdict = (await verdicts_now(work, [support.id]))[support.id]
        assert (verdict.state, verdict.kind) == ("off_track", None)
        assert verdict.sentence
    async with north.unit() as work:
        feed = await events_after(work, keyset(north.district_id, "events", {}, None, 200))
    types = [event.type for event in feed.rows]
    assert types == ["support.planned", "support.started", "response.off_track"]
    assert [event.seq for event in feed.rows] == [1, 2, 3]


async def test_recording_again_changes_nothing(north: Town) -> None:
    """Recording the same batch again leaves all scores unchanged and judges nothing."""
    await served(north, "amy")
    async with north.unit() as work:
        await record_scores(work, weekly(north, "amy", RISES))
    async with north.unit() as work:
        repeated = await record_scores(work, weekly(north, "amy", RISES))
    assert {one.outcome for one in repeated} == {"unchanged"}


async def test_one_bad_score_of_many_is_refused_alone(north: Town) -> None:
    """One invalid score of a batch is refused with its position, and the others are recorded."""
    bad = NewScore(stu(north, "amy"), "orf", BEGINS, 9999.0)
    unknown = NewScore("sis:sis:nobody", "orf", BEGINS, 40.0)
    async with north.unit() as work:
        taken = await record_scores(work, [bad, unknown, *weekly(north, "amy", RISES)])
    assert [one.outcome for one in taken[:2]] == ["refused", "refused"]
    assert taken[0].violations[0].pointer == "/scores/0/value"
    assert taken[1].violations[0].code == "student.unknown"
    assert {one.outcome for one in taken[2:]} == {"recorded"}


async def test_an_external_id_names_the_same_student(north: Town) -> None:
    """A student can be named by the source's sourcedId."""
    async with north.unit() as work:
        taken = await record_scores(work, [NewScore("sis:sis:amy-1", "orf", BEGINS, 40.0)])
    assert taken[0].score is not None
    assert taken[0].score.student_id == north.students["amy"]


async def test_a_decision_to_intensify_draws_a_phase_line(north: Town) -> None:
    """A decision to intensify begins a new phase on the next level, and keeps the verdict that the team saw."""
    support = await served(north, "amy")
    async with north.unit() as work:
        await record_scores(work, weekly(north, "amy", RISES + STALLS))
        seen = (await verdicts_now(work, [support.id]))[support.id]
    async with north.unit() as work:
        on = BEGINS + timedelta(weeks=10, days=1)
        kept = SupportChange("The goal is kept.", confirm_rate=True)
        new = NewDecision("intensify", support=ids.format_id("support", support.id), decided_on=on, change=kept)
        decision = await decide(work, new)
        phases = (await phases_of(work, [support.id]))[support.id]
        now = (await verdicts_now(work, [support.id]))[support.id]
    assert decision.verdict_id == seen.id
    assert [phase.number for phase in phases] == [1, 2]
    assert phases[0].ends_on == phases[1].begins_on == on
    assert phases[1].level_id == north.levels[3]
    assert phases[1].baseline == 47.0
    assert now.state == "insufficient_data"


async def test_restoring_fidelity_draws_a_phase_line(north: Town) -> None:
    """A decision to restore fidelity begins a new phase with the same plan, so that delivery is counted from its first
    day.
    """
    support = await served(north, "amy")
    async with north.unit() as work:
        await record_scores(work, weekly(north, "amy", RISES + STALLS))
        on = BEGINS + timedelta(weeks=10, days=1)
        kept = SupportChange("All sessions take place again.", confirm_rate=True)
        named = ids.format_id("support", support.id)
        decision = await decide(work, NewDecision("restore_fidelity", support=named, decided_on=on, change=kept))
        first, second = (await phases_of(work, [support.id]))[support.id]
    assert decision.phase_id == second.id
    assert first.ends_on == second.begins_on == on
    plan = [(each.level_id, each.minutes_per_session, each.sessions_per_week) for each in (first, second)]
    assert plan[0] == plan[1]


async def test_a_referral_needs_nothing_before_it_and_is_in_no_event(north: Town) -> None:
    """A referral for evaluation needs no earlier step, and no event mentions it."""
    async with north.unit() as work:
        decision = await decide(work, NewDecision("refer", student=stu(north, "ben")))
        assert decision.support_id is None
    async with north.unit() as work:
        feed = await events_after(work, keyset(north.district_id, "events", {}, None, 200))
    assert feed.rows == []


async def test_an_accepted_concern_without_support_is_listed_until_it_is_served(north: Town) -> None:
    """Accepted concerns without a support can be listed, until they have a support."""
    async with north.unit() as work:
        concern = await raise_concern(work, NewConcern(stu(north, "amy"), "ela.fluency", "Reads slowly."))
        await accept_concern(work, concern.id)
    page = keyset(north.district_id, "unserved", {}, None, None)
    async with north.unit() as work:
        assert [row.id for row in (await unserved_concerns(work, page, ConcernFilter())).rows] == [concern.id]
        named = ids.format_id("concern", concern.id)
        planned = await plan_support(work, support_for(north, "amy", concerns=(named,)))
        await start_support(work, planned.id)
        assert (await unserved_concerns(work, page, ConcernFilter())).rows == []


async def test_a_closed_concern_takes_no_verb(north: Town) -> None:
    """A command that the state of a concern does not allow is refused as a conflict, with a documented code."""
    async with north.unit() as work:
        concern = await raise_concern(work, NewConcern(stu(north, "amy"), "ela.fluency", "Reads slowly."))
    async with north.unit() as work:
        from app.concern.service import dismiss_concern

        await dismiss_concern(work, concern.id, "Seen by the team.")
        with pytest.raises(Conflict) as caught:
            await accept_concern(work, concern.id)
    assert caught.value.code == "concern.closed"


async def test_a_plan_says_everything_that_is_wrong_with_it(north: Town) -> None:
    """An invalid plan is refused with all violations at once."""
    wrong = support_for(north, "amy", goal=30.0, goal_on=BEGINS, minutes_per_session=0)
    with pytest.raises(Invalid) as caught:
        async with north.unit() as work:
            await plan_support(work, wrong)
    assert {violation.pointer for violation in caught.value.violations} == {
        "/goal",
        "/goal_on",
        "/minutes_per_session",
    }


async def test_a_secured_area_is_shut_without_its_scope(north: Town) -> None:
    """Concerns in the secured area of social-emotional learning can be read and written only with this area's scope."""
    async with north.unit() as work:
        await raise_concern(work, NewConcern(stu(north, "amy"), "sel", "Keeps apart."))
    shut = north.client(frozenset({"concern:read", "concern:raise", "event:read"}))
    async with north.unit(shut) as work:
        from app.concern.queries import concerns

        page = keyset(north.district_id, "concerns", {}, None, None)
        assert (await concerns(work, page, ConcernFilter())).rows == []
        assert (await events_after(work, keyset(north.district_id, "events", {}, None, 10))).rows == []
        with pytest.raises(Forbidden):
            await raise_concern(work, NewConcern(stu(north, "amy"), "sel", "Keeps apart."))


async def test_the_story_is_one_call_and_is_logged_as_a_disclosure(north: Town) -> None:
    """Reading all data about a student writes one row to the disclosure log, with the student and the kinds of data."""
    await served(north, "amy")
    async with north.unit(operation="story") as work:
        result = await story(work, "sis:sis:amy-1")
        assert len(result.supports) == 1

    @needs(Can.READ_ROSTER)
    async def logged(work: Work) -> list[Disclosure]:
        rows = await work.db.scalars(select(Disclosure).where(Disclosure.district_id == north.district_id))
        return list(rows)

    async with north.unit() as work:
        rows = [row for row in await logged(work) if row.operation == "story"]
    assert len(rows) == 1
    assert rows[0].student_ids == [north.students["amy"]]
    assert {"student", "support"} <= set(rows[0].kinds)


async def test_a_batch_that_contradicts_itself_is_refused_where_it_does(north: Town) -> None:
    """If two scores of a batch contradict each other, both are refused with their positions.

    The other scores are recorded. A student can be named by id or by external id. A score that was sent twice is
    recorded once.
    """
    amy, ben, other = stu(north, "amy"), stu(north, "ben"), "sis:sis:amy-1"
    batch = [
        NewScore(amy, "orf", BEGINS, 40.0),
        NewScore(ben, "orf", BEGINS, 50.0),
        NewScore(other, "orf", BEGINS, 41.0),
        NewScore("sis:sis:ben-1", "orf", BEGINS, 50.0),
        NewScore(amy, "orf", BEGINS, 41.0, attempt=2),
        NewScore(amy, "orf", BEGINS + timedelta(days=1), 40.0, external_id="a"),
        NewScore(ben, "orf", BEGINS + timedelta(days=1), 40.0, external_id="a"),
        NewScore(amy, "orf", BEGINS + timedelta(days=2), 999.0),
        NewScore(amy, "orf", BEGINS + timedelta(days=2), 44.0),
    ]
    async with north.unit() as work:
        taken = await record_scores(work, batch)
    assert [one.outcome for one in taken] == [
        *("refused", "recorded", "refused", "unchanged", "recorded", "refused", "refused", "refused", "refused")
    ]
    assert taken[1].score is taken[3].score
    violations_by_place = {place: one.violations for place, one in enumerate(taken) if one.violations}
    assert {place: [two.code for two in some] for place, some in violations_by_place.items()} == {
        **{place: ["score.doubled"] for place in (0, 2, 5, 6, 8)},
        7: ["score.out_of_range", "score.doubled"],
    }
    for place, second in ((0, 2), (2, 0), (5, 6), (6, 5)):
        assert violations_by_place[place][0].pointer == f"/scores/{place}"
        assert all(f"/scores/{one} " in violations_by_place[place][0].detail for one in (place, second))
    async with north.unit() as work:
        repeated = await record_scores(work, [batch[2]])
    assert repeated[0].outcome == "recorded"


async def test_another_senders_name_for_a_score_is_not_ours(north: Town) -> None:
    """Two senders may use the same external id for different scores."""
    async with north.unit() as work:
        await record_scores(work, [NewScore(stu(north, "amy"), "orf", BEGINS, 40.0, external_id="a")])
    async with north.unit(replace(north.client(), client_id=ids.new_id())) as work:
        taken = await record_scores(work, [NewScore(stu(north, "ben"), "orf", BEGINS, 41.0, external_id="a")])
    assert taken[0].outcome == "recorded"


async def test_a_decision_that_has_no_way_to_go_says_where(north: Town) -> None:
    """A decision to intensify at the highest level is refused, and nothing is changed."""
    support = await served(north, "amy")
    named = ids.format_id("support", support.id)
    on = BEGINS + timedelta(weeks=1)
    async with north.unit() as work:
        kept = SupportChange("The goal is kept.", confirm_rate=True)
        await decide(work, NewDecision("intensify", support=named, decided_on=on, change=kept))
    second = NewDecision("intensify", support=named, decided_on=on + timedelta(weeks=1), change=kept)
    with pytest.raises(Invalid) as caught:
        async with north.unit() as work:
            await decide(work, second)
    assert [violation.pointer for violation in caught.value.violations] == ["/kind"]
    async with north.unit() as work:
        assert len((await phases_of(work, [support.id]))[support.id]) == 2


async def test_an_ended_support_takes_no_decision_but_a_referral(north: Town) -> None:
    """After a decision to exit, the support has ended, and a referral can still be recorded at any time."""
    support = await served(north, "amy")
    named = ids.format_id("support", support.id)
    async with north.unit() as work:
        await decide(work, NewDecision("exit", support=named))
    with pytest.raises(Conflict) as caught:
        async with north.unit() as work:
            await decide(work, NewDecision("continue", support=named))
    assert caught.value.code == "support.ended"
    async with north.unit() as work:
        referral = await decide(work, NewDecision("refer", support=named))
    assert referral.support_id == support.id


async def test_a_support_is_locked_by_its_measure_and_all_its_concerns(north: Town) -> None:
    """A support is in a secured area if its measure is, even if its first concern is not in this area."""
    async with north.unit() as work:
        concern = await raise_concern(work, NewConcern(stu(north, "amy"), "ela.fluency", "Reads slowly."))
        await accept_concern(work, concern.id)
    plan = support_for(
        north,
        "amy",
        measure="sel-screener",
        baseline=10.0,
        goal=40.0,
        concerns=(ids.format_id("concern", concern.id),),
    )
    async with north.unit() as work:
        assert (await plan_support(work, plan)).secured_area == "sel"
    without = frozenset(scope for scope in ALL_SCOPES if scope != "area:sel")
    with pytest.raises(Forbidden):
        async with north.unit(north.client(without)) as work:
            await plan_support(work, plan)


async def test_a_stretch_does_not_begin_in_the_future(north: Town) -> None:
    """A change of a support cannot begin in the future, because scores until then would belong to no phase."""
    support = await served(north, "amy")
    ahead = date.today() + timedelta(days=30)
    with pytest.raises(Invalid) as caught:
        async with north.unit() as work:
            await change_support(work, support.id, SupportChange(because="More time.", begins_on=ahead))
    assert caught.value.violations[0].code == "support.in_the_future"


async def test_two_scores_of_one_sender_do_not_become_one(north: Town) -> None:
    """If a sender gives a second external id for the same student, measure, date and attempt, that score is refused."""
    async with north.unit() as work:
        await record_scores(work, [NewScore(stu(north, "amy"), "orf", BEGINS, 10.0, external_id="a")])
        taken = await record_scores(work, [NewScore(stu(north, "amy"), "orf", BEGINS, 99.0, external_id="b")])
    assert taken[0].outcome == "refused"
    assert taken[0].violations[0].code == "score.two_identities"


@pytest.mark.parametrize(
    ("kind", "change", "pointer"),
    [
        ("intensify", SupportChange(because="Less.", level=1), "/change/level"),
        ("fade", SupportChange(because="More.", level=3), "/change/level"),
        ("raise_goal", SupportChange(because="Lower.", goal=60.0), "/change/goal"),
        ("continue", SupportChange(because="None."), "/change"),
    ],
)
async def test_a_decision_does_not_contradict_itself(
    north: Town, kind: str, change: SupportChange, pointer: str
) -> None:
    """A decision is refused if its kind contradicts its changes."""
    support = await served(north, "amy")
    new = NewDecision(kind, support=ids.format_id("support", support.id), change=change)
    with pytest.raises(Invalid) as caught:
        async with north.unit() as work:
            await decide(work, new)
    assert caught.value.violations[0].pointer == pointer


async def test_nobody_puts_an_act_down_to_another(north: Town) -> None:
    """A request that acts for a teacher cannot raise a concern in the name of an administrator."""
    client = north.client()
    teacher, administrator = (ids.format_id("person", north.staff[name]) for name in ("teacher", "administrator"))
    bound = await bound_to_person(north.engine, north.settings.keyring, client, teacher)
    new = NewConcern(stu(north, "amy"), "ela.fluency", "Reads slowly.", raised_by=administrator)
    with pytest.raises(Invalid) as caught:
        async with north.unit(bound) as work:
            await raise_concern(work, new)
    assert caught.value.violations[0].code == "person.another"
