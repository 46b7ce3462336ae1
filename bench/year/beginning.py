"""The first week of the simulated year: the roster, the calendar, the measures, and everything that the team plans."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from bench.year.children import GROUPS, Followed
from bench.year.observing import read_states
from bench.year.records import ConcernRecord, SupportRecord, TeamRecord
from bench.year.roster import COUNSELLOR, GRADE, SCHOOL, SPECIALIST, TEACHERS, external
from bench.year.state import BEGINS, BREAKS, Year

MEASURES = (
    {"code": "on-task", "kind": "percentage", "name": "Time on task", "area": "behaviour", "unit": "%", "highest": 100},
    {"code": "criterion", "kind": "criterion", "name": "Facts mastered", "area": "math", "unit": "met", "highest": 1},
)
RULES = (
    {"rule": "monitor", "parameters": {"far_percent": 10}},
    {"measure": "referrals", "rule": "level-change"},
    {"measure": "on-task", "rule": "level-change"},
    {"measure": "criterion", "rule": "criterion"},
)
TYPES = ["response.*", "support.*", "goal.*", "decision.made", "probe.requested"]
TAUGHT_WEEKDAYS = (0, 2, 3)


def connect(year: Year) -> None:
    """Registers the roster source and the webhook receiver, and sends the first roster."""
    source = {"name": "sis", "kind": "oneroster-csv", "url": "upload:"}
    year.ids["source"] = year.caller.post("/v1/sis-sources", source)["id"]
    year.sync()
    for student in year.caller.all("/v1/students"):
        year.student_ids[student["external_ids"][0]["sourced_id"]] = student["id"]
    year.names = {student: name for name, student in year.student_ids.items()}
    receiver = year.installation.receiver
    endpoint = year.caller.post("/v1/webhook-endpoints", {"url": receiver.url, "event_types": TYPES})
    receiver.set_secret(endpoint["secret"])


def set_up(year: Year) -> None:
    """Saves the breaks, adds measures, publishes the rules, and forms the grade's team."""
    for name, (first, last) in BREAKS.items():
        begins_on, ends_on = BEGINS + timedelta(weeks=first), BEGINS + timedelta(weeks=last, days=4)
        dates = {"begins_on": begins_on.isoformat(), "ends_on": ends_on.isoformat()}
        year.caller.post("/v1/breaks", {"name": name, **dates})
    for measure in MEASURES:
        year.caller.post("/v1/measures", {"direction": "up", "lowest": 0, **measure})
    year.caller.post("/v1/playbook", {"rules": RULES})
    members = (*TEACHERS, SPECIALIST)
    grade = year.teams["grade"] = _form_team(year, "Grade 2", "grade", members)
    year.caller.post(f"/v1/teams/{grade.id}/scopes", {"grade": GRADE, "school": external(SCHOOL)})
    year.teams["problem-solving"] = _form_team(
        year, "Problem solving", "problem_solving", (TEACHERS[0], SPECIALIST, COUNSELLOR)
    )
    students = len(year.caller.get("/v1/students", act_for=external(TEACHERS[0]), limit=200)["items"])
    year.require(students == year.roster.students, f"a member of the team sees {students} students")


def _form_team(year: Year, name: str, purpose: str, members: tuple[str, ...]) -> TeamRecord:
    team = year.caller.post("/v1/teams", {"name": name, "purpose": purpose, "school": external(SCHOOL)})["id"]
    people = [{"person": external(member)} for member in members]
    year.caller.post(f"/v1/teams/{team}/members/bulk", {"team_members": people})
    return TeamRecord(name, team, members, grade=purpose == "grade")


def take_baselines(year: Year) -> None:
    """Records three baseline scores of each measure, on three days."""
    scores = [
        _score(record, followed, year.day(day), record.child.baseline(followed), "baseline")
        for record in year.supports
        for followed in record.child.plan.measures
        for day in (0, 2, 3)
    ]
    send_scores(year, scores)


def plan_supports(year: Year) -> None:
    """Raises and accepts a concern about each student, and plans the supports, which start by themselves on Monday."""
    for number, record in enumerate(year.supports):
        teacher = year.roster.teacher_of(number)
        record.concern = raise_concern(year, record.student, record.child.plan.area, teacher)
        accept_concern(year, record.concern)
        if record.child.plan.group is None:
            plan_support(year, record, teacher)
    for name in GROUPS:
        _form(year, name)
    read_states(year)


def raise_concern(year: Year, student: str, area: str, teacher: str) -> str:
    """Raises a concern about a student for a teacher, and returns its id."""
    concern = {"student": external(student), "area": area, "description": "Seen in class."}
    raised = str(year.caller.post("/v1/concerns", concern, act_for=external(teacher))["id"])
    year.concerns[raised] = ConcernRecord(raised, student, area, "raised", year.today)
    return raised


def accept_concern(year: Year, concern: str) -> None:
    """Accepts a concern, which is unserved until a support is active."""
    year.caller.post(f"/v1/concerns/{concern}/accept", {"because": "The team agrees."})
    year.concerns[concern].state, year.concerns[concern].unserved_since = "accepted", year.today


def plan_support(year: Year, record: SupportRecord, lead: str) -> None:
    """Plans a support that starts on the next Monday."""
    plan, starts_on = record.child.plan, year.day(7)
    body = {
        "student": external(record.student),
        "area": plan.area,
        "intervention": plan.intervention,
        "level": 2,
        "starts_on": starts_on.isoformat(),
        "minutes_per_session": 30,
        "sessions_per_week": len(TAUGHT_WEEKDAYS),
        "concerns": [record.concern],
        "lead": external(lead),
    }
    record.lead, record.starts_on, record.phase_begins = lead, starts_on, starts_on
    if not plan.measures:
        record.review_on = year.day(7 * 9)
        body["review_on"] = record.review_on.isoformat()
        record.id = year.caller.post("/v1/supports", body)["id"]
        return
    record.goal_on = year.day(7 * plan.goal_weeks + 4)
    first, *more = plan.measures
    record.id = _with_goal(year, "/v1/supports", {**body, "measure": first.measure}, first, record.goal_on)["id"]
    for followed in more:
        year.caller.post(f"/v1/supports/{record.id}/measures", {"measure": followed.measure, "goal": followed.goal})


def _with_goal(year: Year, path: str, body: dict[str, Any], followed: Followed, goal_on: date) -> Any:
    """Sends a plan with the goal that the team wants, or, if it is refused, with the goal that the refusal proposes."""
    body = {**body, "goal": followed.goal, "goal_on": goal_on.isoformat()}
    answer = year.caller.ask("POST", path, json=body)
    if answer.status_code == 422 and answer.json()["code"] == "goal.unrealistic":
        year.proposed_goals += 1
        body["goal"] = answer.json()["violations"][0]["figures"]["proposed_goal"]
        return year.caller.post(path, body)
    return answer.json() if answer.is_success else year.caller.post(path, body)


def _form(year: Year, name: str) -> None:
    records = [each for each in year.supports if each.child.plan.group == name and each.child.plan.joins == 1]
    area, measure = GROUPS[name]
    if not records:
        return
    goal_on = year.day(7 * records[0].child.plan.goal_weeks + 4)
    form_group(year, name, area, measure, goal_on, records)


def form_group(
    year: Year, name: str, area: str, measure: str | None, until: date, records: list[SupportRecord]
) -> None:
    """Forms a group that begins on the next Monday, and plans a support for each of its members, in one call."""
    lead, starts_on = COUNSELLOR if measure is None else SPECIALIST, year.day(7)
    if measure is None:
        until = year.day(7 * 12)
    body = {
        "school": external(SCHOOL),
        "name": f"The {name} table",
        "area": area,
        "intervention": records[0].child.plan.intervention,
        "level": 2,
        "starts_on": starts_on.isoformat(),
        "minutes_per_session": 20,
        "sessions_per_week": len(TAUGHT_WEEKDAYS),
        "lead": external(lead),
        "members": [member(record) for record in records],
    }
    of_measure = {"measure": measure, "goal_on": until.isoformat()}
    body |= {"review_on": until.isoformat()} if measure is None else of_measure
    group = year.caller.post("/v1/groups", body)
    year.groups[name], year.group_dates[name] = group["id"], until
    read_members(year, name, starts_on)


def member(record: SupportRecord) -> dict[str, Any]:
    """Returns the input for a member of a group, with the student's goal."""
    goals = [followed.goal for followed in record.child.plan.measures[:1]]
    of_student = {"student": external(record.student), "concerns": [record.concern]}
    return {**of_student, **({"goal": goals[0], "confirm_rate": True} if goals else {})}


def read_members(year: Year, name: str, starts_on: date) -> None:
    """Reads the members of a group, and completes the records of the supports of new members.

    The group has created these supports. Each record gets the support's id, group, dates and lead.
    """
    by_student = {
        each["student"]: each["support"] for each in year.caller.get(f"/v1/groups/{year.groups[name]}")["members"]
    }
    for record in year.supports:
        plan, support = record.child.plan, by_student.get(year.student_ids[record.student])
        if plan.group == name and support is not None and not record.id:
            record.id, record.group, record.starts_on, record.phase_begins = support, name, starts_on, starts_on
            until = year.group_dates[name]
            record.lead = SPECIALIST if plan.measures else COUNSELLOR
            record.goal_on, record.review_on = (until, None) if plan.measures else (None, until)


def _score(record: SupportRecord, followed: Followed, day: date, value: float, purpose: str) -> dict[str, Any]:
    record.scores.append((followed.measure, day, value))
    return {
        "student": external(record.student),
        "measure": followed.measure,
        "taken_on": day.isoformat(),
        "value": value,
        "purpose": purpose,
    }


def progress_score(record: SupportRecord, followed: Followed, day: date, value: float, form: str) -> dict[str, Any]:
    """Returns the input for a progress score, and remembers the score."""
    return {**_score(record, followed, day, value, "progress"), "form": form}


def send_scores(year: Year, scores: list[dict[str, Any]]) -> None:
    """Sends scores in one request and requires that each is recorded."""
    if not scores:
        return
    with year.caller.counting("scores"):
        results = year.caller.post("/v1/scores/bulk", {"scores": scores})["results"]
    for score, result in zip(scores, results, strict=True):
        codes = [violation["code"] for violation in result["violations"]]
        year.require(result["outcome"] == "recorded", f"a score of {score['measure']} is {result['outcome']}: {codes}")
