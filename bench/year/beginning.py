"""The first week of the played year: the roster, the calendar, the measures, and everything that the team plans."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from bench.year.children import GROUPS, PLANS, Followed
from bench.year.roster import COUNSELLOR, GRADE, SCHOOL, SPECIALIST, TEACHERS, external
from bench.year.state import BEGINS, BREAKS, SupportRecord, Year

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
    """Registers the source and the receiver, and sends the first roster."""
    source = {"name": "sis", "kind": "oneroster-csv", "url": "upload:"}
    year.ids["source"] = year.caller.post("/v1/sis-sources", source)["id"]
    year.sync()
    for student in year.caller.all("/v1/students"):
        year.student_ids[student["external_ids"][0]["sourced_id"]] = student["id"]
    receiver = year.installation.receiver
    endpoint = year.caller.post("/v1/webhook-endpoints", {"url": receiver.url, "event_types": TYPES})
    receiver.set_secret(endpoint["secret"])


def set_up(year: Year) -> None:
    """Declares the breaks, adds measures, publishes the rules, and forms the grade's team."""
    for name, (first, last) in BREAKS.items():
        begins_on, ends_on = BEGINS + timedelta(weeks=first), BEGINS + timedelta(weeks=last, days=4)
        dates = {"begins_on": begins_on.isoformat(), "ends_on": ends_on.isoformat()}
        year.caller.post("/v1/breaks", {"name": name, **dates})
    for measure in MEASURES:
        year.caller.post("/v1/measures", {"direction": "up", "lowest": 0, **measure})
    year.caller.post("/v1/playbook", {"rules": RULES})
    team = {"name": "Grade 2", "purpose": "grade", "school": external(SCHOOL)}
    year.ids["team"] = year.caller.post("/v1/teams", team)["id"]
    members = [{"person": external(name)} for name in (*TEACHERS, SPECIALIST)]
    path = f"/v1/teams/{year.ids['team']}"
    year.caller.post(f"{path}/members/bulk", {"team_members": members})
    year.caller.post(f"{path}/scopes", {"grade": GRADE, "school": external(SCHOOL)})
    students = len(year.caller.get("/v1/students", act_for=external(TEACHERS[0]), limit=200)["items"])
    year.require(students == year.roster.students, f"a member of the team sees {students} students")


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
        teacher = external(year.roster.teacher_of(number))
        concern = {"student": external(record.student), "area": record.child.plan.area, "description": "Seen in class."}
        raised = year.caller.post("/v1/concerns", concern, act_for=teacher)["id"]
        year.caller.post(f"/v1/concerns/{raised}/accept", {"because": "The team agrees."})
        record.concern = raised
        if record.child.plan.group is None:
            record.id = _plan(year, record, teacher)["id"]
    for name in GROUPS:
        _form(year, name)


def _plan(year: Year, record: SupportRecord, teacher: str) -> Any:
    plan = record.child.plan
    body = {
        "student": external(record.student),
        "area": plan.area,
        "intervention": plan.intervention,
        "level": 2,
        "starts_on": year.day(7).isoformat(),
        "minutes_per_session": 30,
        "sessions_per_week": len(TAUGHT_WEEKDAYS),
        "concerns": [record.concern],
        "lead": teacher,
    }
    if not plan.measures:
        return year.caller.post("/v1/supports", {**body, "review_on": year.day(7 * 9).isoformat()})
    goal_on = year.day(7 * plan.goal_weeks + 4)
    first, *more = plan.measures
    planned = _with_goal(year, "/v1/supports", {**body, "measure": first.measure}, first, goal_on)
    for followed in more:
        year.caller.post(f"/v1/supports/{planned['id']}/measures", {"measure": followed.measure, "goal": followed.goal})
    return planned


def _with_goal(year: Year, path: str, body: dict[str, Any], followed: Followed, goal_on: date) -> Any:
    """Plans with the goal that the team wants, or with the one that a refusal proposes."""
    body = {**body, "goal": followed.goal, "goal_on": goal_on.isoformat()}
    answer = year.caller.ask("POST", path, json=body)
    if answer.status_code == 422 and answer.json()["code"] == "goal.unrealistic":
        year.proposed_goals += 1
        body["goal"] = answer.json()["violations"][0]["figures"]["proposed_goal"]
        return year.caller.post(path, body)
    return answer.json() if answer.is_success else year.caller.post(path, body)


def _form(year: Year, name: str) -> None:
    records = [each for each in year.supports if each.child.plan.group == name and each.child.plan.joins == 1]
    if not records:
        return
    area, measure = GROUPS[name]
    plan = next(each for each in PLANS if each.group == name)
    goal_on = year.day(7 * plan.goal_weeks + 4)
    body = {
        "school": external(SCHOOL),
        "name": f"The {name} table",
        "area": area,
        "intervention": plan.intervention,
        "level": 2,
        "starts_on": year.day(7).isoformat(),
        "minutes_per_session": 20,
        "sessions_per_week": len(TAUGHT_WEEKDAYS),
        "lead": external(COUNSELLOR if measure is None else SPECIALIST),
        "members": [member(record) for record in records],
    }
    of_measure = {"measure": measure, "goal_on": goal_on.isoformat()}
    body |= {"review_on": year.day(7 * 12).isoformat()} if measure is None else of_measure
    group = year.caller.post("/v1/groups", body)
    year.groups[name] = group["id"]
    read_members(year, name)


def member(record: SupportRecord) -> dict[str, Any]:
    """Returns the input for a member of a group, with the student's goal."""
    goals = [followed.goal for followed in record.child.plan.measures[:1]]
    of_student = {"student": external(record.student), "concerns": [record.concern]}
    return {**of_student, **({"goal": goals[0], "confirm_rate": True} if goals else {})}


def read_members(year: Year, name: str) -> None:
    """Reads which support each member of a group has."""
    records = {year.student_ids[record.student]: record for record in year.supports}
    for each in year.caller.get(f"/v1/groups/{year.groups[name]}")["members"]:
        records[each["student"]].id, records[each["student"]].group = each["support"], name


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
    """Sends scores in one call, each of which must be recorded."""
    if not scores:
        return
    with year.caller.counting("scores"):
        results = year.caller.post("/v1/scores/bulk", {"scores": scores})["results"]
    for score, result in zip(scores, results, strict=True):
        codes = [violation["code"] for violation in result["violations"]]
        year.require(result["outcome"] == "recorded", f"a score of {score['measure']} is {result['outcome']}: {codes}")
