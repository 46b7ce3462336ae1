"""The people who come and go in the simulated year: a mover, a student who leaves and returns, and a teacher who
leaves.
"""

from __future__ import annotations

from bench.year.beginning import member, read_members
from bench.year.observing import read_states
from bench.year.roster import OTHER_SCHOOL, OTHER_TEACHER, SPECIALIST, TEACHERS, external
from bench.year.state import Year
from bench.year.tasks import add_own

MOVER, LEAVER = "responds", "never"
LEAVING_TEACHER = TEACHERS[1]


def join_groups(year: Year) -> None:
    """Lets students join and leave their groups in the weeks for which the plan says so."""
    for record in year.supports:
        plan = record.child.plan
        if plan.group not in year.groups or record.student in year.away:
            continue
        path = f"/v1/groups/{year.groups[plan.group]}"
        if plan.joins == year.week > 1 and not record.id:
            year.caller.post(f"{path}/join", {**member(record), "on": year.monday.isoformat()})
            read_members(year, plan.group, year.today)
            read_states(year)
        if plan.leaves == year.week and record.id:
            year.caller.post(f"{path}/leave", {"student": external(record.student), "on": year.monday.isoformat()})
            record.group = None
            read_states(year)


def move_away(year: Year) -> None:
    """Moves a student to the other school. The support continues, and only the new school sees the student."""
    record = year.record(MOVER)
    if record is None:
        return
    year.roster.moved.add(record.student)
    year.moved_on[record.student] = year.today
    year.sync()
    former = external(year.roster.teacher_of(0))
    with year.caller.counting("moves"):
        seen = year.caller.ask("GET", f"/v1/supports/{record.id}", act_for=former)
        came = _ids(year, came_with_student="true", school=external(OTHER_SCHOOL))
        unled = _ids(year, unled="true")
    year.require(seen.status_code == 404, f"the former teacher still reads the mover's support ({seen.status_code})")
    year.require(came == {record.id}, "the new school's list does not say that the student came with a support")
    year.require(record.id in unled, "the mover's support is not listed as unled")
    body = {"lead": external(OTHER_TEACHER), "because": "The student moved."}
    year.caller.post(f"/v1/supports/{record.id}/handover", body)
    record.lead = OTHER_TEACHER
    read_states(year)


def ask_about_leaver(year: Year) -> None:
    """Lets a member add an item about a student who then leaves. It is on no agenda until the student is back."""
    record = year.record(LEAVER)
    if record is not None:
        add_own(year, "How does the family see it?", record.student)


def leave(year: Year) -> None:
    """Lets a student leave, and checks that the support is suspended and further scores are refused."""
    record = year.record(LEAVER)
    if record is None:
        return
    year.roster.gone.add(record.student)
    year.away.add(record.student)
    year.sync()
    read_states(year)
    support = year.caller.get(f"/v1/supports/{record.id}")
    year.require(support["state"] == "suspended", f"the leaver's support is {support['state']}")
    score = {"student": external(record.student), "measure": "orf", "taken_on": year.today.isoformat(), "value": 50}
    result = year.caller.post("/v1/scores/bulk", {"scores": [score]})["results"][0]
    codes = [violation["code"] for violation in result["violations"]]
    year.require(codes == ["student.departed"], f"a score of a student who has left is {result['outcome']} {codes}")


def come_back(year: Year) -> None:
    """Lets the student come back; the support continues."""
    record = year.record(LEAVER)
    if record is None:
        return
    year.roster.gone.discard(record.student)
    year.away.discard(record.student)
    year.sync()
    read_states(year)
    support = year.caller.get(f"/v1/supports/{record.id}")
    year.require(support["state"] == "active", f"the support of who came back is {support['state']}")


def lose_a_teacher(year: Year) -> None:
    """Lets a teacher leave. All supports that the teacher led are listed as unled, and come up at the next meeting."""
    year.roster.gone.add(LEAVING_TEACHER)
    year.sync()
    led = [each for each in year.supports if each.lead == LEAVING_TEACHER and each.id and not each.is_ended]
    for record in led:
        record.unled_since = year.today
    with year.caller.counting("moves"):
        unled = _ids(year, unled="true")
    year.require(unled == {each.id for each in led}, f"{len(unled)} supports are listed as unled instead of {len(led)}")


def hand_over(year: Year) -> None:
    """Hands over all supports that the teacher led, in one request."""
    led = [each for each in year.supports if each.unled_since is not None]
    body = {"giver": external(LEAVING_TEACHER), "taker": external(SPECIALIST), "because": "The teacher left."}
    with year.caller.counting("moves"):
        handed_over = year.caller.post("/v1/supports/handover", body)["supports"]
        left = _ids(year, unled="true")
    year.require(handed_over == len(led), f"one call handed {handed_over} of {len(led)} supports over")
    year.require(not left, f"{len(left)} supports are still without a lead")
    for record in led:
        record.lead, record.unled_since = SPECIALIST, None


def _ids(year: Year, **parameters: str) -> set[str]:
    return {support["id"] for support in year.caller.all("/v1/supports", **parameters)}
