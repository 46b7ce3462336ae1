"""Runs the story over public HTTP: a scripted example in which a student's support first works and then stops working.

It syncs a roster, raises a concern, starts a support, records weekly scores, receives the webhook and records a
decision.
"""

import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from app.sandbox.district import District
from app.sandbox.export import export_csv
from app.sandbox.growth import StoppingReader, stopping_reader
from app.sandbox.outsiders import Receiver, Vendor, aimline
from app.sandbox.story_printer import Printer, StepFailed

WEEKS, GOAL_WEEKS, GOAL_RATE = 22, 26, 1.5
SOURCE = "nightly"
SCOPES = "all area:sel"
"""The scopes of the vendor's client. They include the secured area, so that the client's pages show everything."""
ELEMENTARY = {"01", "02", "03", "04", "05"}
YOUNG = {"01", "02"}
"""The grades for which `GOAL_RATE` is realistic according to the norms."""
ONE_CALL = """
query Story($id: ID!) {
  student(id: $id) {
    givenName
    concerns { state supports { state phases { number } scores { value } verdict { state kind sentence } } }
  }
}
"""


@dataclass
class StoryRecords:
    """The records that the scripted example uses: a student, with the student's teacher, class and support."""

    student: dict[str, Any]
    teacher: dict[str, Any]
    class_title: str
    support_id: str = ""

    @property
    def student_id(self) -> str:
        """Returns the student's external id, which is the id in the SIS, if there is one.

        Otherwise returns the student's id in Aimline. The demonstration uses it to show that a vendor can work without
        Aimline's ids.
        """
        external_ids = self.student["external_ids"]
        return (
            f"sis:{external_ids[0]['source']}:{external_ids[0]['sourced_id']}"
            if external_ids
            else str(self.student["id"])
        )


def run_story(
    printer: Printer, base_url: str, slug: str, roster: Path | None, receiver: Receiver
) -> tuple[Vendor, StoryRecords]:
    """Creates a new district and runs every step of the scripted example in it.

    Returns the vendor's API client, and the records that the example uses.
    """
    printer.chapter("A district comes in from its SIS")
    _sync(printer, slug, roster)
    vendor = printer.run("a vendor's client gets a token", lambda: _client(base_url, slug))
    printer.run("the vendor's receiver is registered, in another process", lambda: _listen(vendor, receiver))
    records = printer.run("a class, its teacher and a student are found", lambda: _find_records(vendor))
    reader = stopping_reader(seed=7, weeks=WEEKS)

    printer.chapter("Concern → support")
    support = _open_support(printer, vendor, records, reader)

    printer.chapter("Support → response")
    stopped, sent_at = _record_weeks(printer, vendor, records, reader, support)
    printer.print_line(stopped["sentence"])
    records.support_id = support["id"]
    printer.run("the support's picture shows it at a glance", lambda: _look(vendor, records))
    arrived = printer.run(
        "the webhook arrives in the other process, and its signature verifies",
        lambda: _receive(receiver, support),
    )
    took = datetime.fromisoformat(arrived["received_at"]) - sent_at
    printer.print_line(f"{took.total_seconds() * 1000:.0f} ms from sending the score to the verified webhook.")

    printer.chapter("Response → decision")
    printer.run(
        "the team decides to intensify, which draws a phase line", lambda: _intensify(printer, vendor, records, support)
    )
    printer.run("GraphQL tells the same in one request", lambda: _ask_graphql(vendor, records))
    return vendor, records


def _sync(printer: Printer, slug: str, roster: Path | None) -> None:
    with tempfile.TemporaryDirectory(prefix="aimline-story-") as folder:
        file, name = roster, "a district of one's own"
        if file is None:
            district, out = District(1, 1500, datetime.now(UTC).date()), Path(folder) / "district.zip"
            name, file = district.name, out
            printer.run("the sandbox SIS exports its district as OneRoster 1.1 CSV", lambda: export_csv(district, out))
        printer.run("the operator makes the district", lambda: aimline("district", "create", slug, "--name", name))
        output = printer.run(
            "its roster is synced",
            lambda: aimline("sync", "csv", str(file), "--district", slug, "--source", SOURCE, "--json", fine=(0, 3)),
        )
        counts = json.loads(output)["kinds"]
        created = (
            f"{count['created']:,} {count['file'].removesuffix('.csv')}"
            for count in counts.values()
            if count["created"]
        )
        printer.print_line(", ".join(created))


def _client(base_url: str, slug: str) -> Vendor:
    client = json.loads(
        aimline("client", "create", "--district", slug, "--scope", SCOPES, "--name", "a vendor", "--json")
    )
    return Vendor(base_url, client["client_id"], client["client_secret"])


def _listen(vendor: Vendor, receiver: Receiver) -> None:
    endpoint = {"url": receiver.url, "event_types": ["response.stopped", "decision.made"]}
    receiver.set_secret(vendor.post("/v1/webhook-endpoints", endpoint)["secret"])


def _find_records(vendor: Vendor) -> StoryRecords:
    classes = list(vendor.all("/v1/classes"))
    # The story prefers a young reader; any class of a roster given by the user will do.
    for class_ in sorted(
        classes,
        key=lambda class_: (
            not YOUNG & set(class_["grades"]),
            not ELEMENTARY & set(class_["grades"]),
            class_["type"] != "homeroom",
        ),
    ):
        teachers = [
            person
            for person in vendor.get("/v1/staff", **{"class": class_["id"]}, limit=50)["items"]
            if person["role"] == "teacher"
        ]
        students = vendor.get("/v1/students", **{"class": class_["id"]}, limit=1)["items"] if teachers else []
        if students:
            return StoryRecords(students[0], teachers[0], class_["title"])
    raise StepFailed("the roster has no class with a teacher and a student")


def _open_support(printer: Printer, vendor: Vendor, records: StoryRecords, reader: StoppingReader) -> dict[str, Any]:
    teacher = records.teacher["id"]
    begins = _first_monday()
    reach = printer.run(
        "acting for the teacher, the client sees their students only",
        lambda: vendor.get("/v1/students", act_for=teacher, limit=200)["items"],
    )
    printer.print_line(f"{len(reach)} students on the caseload.")
    _require(
        any(student["id"] == records.student["id"] for student in reach), "the student is not on the teacher's caseload"
    )
    raised = {"student": records.student_id, "area": "ela.fluency", "description": "Reads word by word, and tires."}
    concern = printer.run(
        "the teacher raises a concern about a reader", lambda: vendor.post("/v1/concerns", raised, act_for=teacher)
    )
    path = f"/v1/concerns/{concern['id']}/accept"
    printer.run("the team accepts it", lambda: vendor.post(path, {"because": "Seen by the grade team."}))
    baseline = [_score(records, begins - timedelta(days=5 - day), value) for day, value in enumerate(reader.baseline)]
    for student in baseline:
        student["purpose"] = "baseline"
    printer.run("three baseline scores are sent", lambda: vendor.post("/v1/scores/bulk", {"scores": baseline}))
    median = sorted(reader.baseline)[1]
    plan = {
        "student": records.student_id,
        "intervention": "Repeated reading in a group of four",
        "level": 2,
        "measure": "orf",
        "starts_on": begins.isoformat(),
        "goal": median + GOAL_RATE * GOAL_WEEKS,
        "goal_on": (begins + timedelta(weeks=GOAL_WEEKS)).isoformat(),
        "minutes_per_session": 30,
        "sessions_per_week": 3,
        "concerns": [concern["id"]],
        "lead": teacher,
        "confirm_rate": not YOUNG & set(records.student["grades"]),
    }
    support = printer.run("the team opens a targeted support with a goal", lambda: vendor.post("/v1/supports", plan))
    _require(support["phases"][0]["baseline"] == median, "the baseline is not the median of the three scores")
    printer.print_line(
        f"From {median:.0f} to {plan['goal']:.0f} words a minute in {GOAL_WEEKS} weeks: {GOAL_RATE} a week."
    )
    _require(support["state"] == "active", "the support did not start on its first day")
    planned: dict[str, Any] = support
    return planned


def _record_weeks(
    printer: Printer, vendor: Vendor, records: StoryRecords, reader: StoppingReader, support: dict[str, Any]
) -> tuple[dict[str, Any], datetime]:
    """Records the scores week by week until the verdict is `not_responding`.

    Returns that verdict, and the time at which the last score was sent.
    """
    printer.step = "weekly scores arrive; the student responds, then stops"
    begins, line = _first_monday(), support["phases"][0]
    states: list[str] = []
    verdict: dict[str, Any] = {}
    sent_at = datetime.now(UTC)
    with printer.weeks("Words correct a minute") as weeks:
        for week, value in enumerate(reader.weekly, start=1):
            sent_at = datetime.now(UTC)
            vendor.post("/v1/scores", _score(records, begins + timedelta(weeks=week), value))
            verdict = vendor.get(f"/v1/supports/{support['id']}/verdict")
            states.append(verdict["state"])
            weeks.add(week, value, line["baseline"] + GOAL_RATE * week, verdict["state"])
            if verdict["state"] == "not_responding":
                break
    _require("responding" in states, "the student was never found to respond")
    _require(states[-1] == "not_responding", "the verdict never turned to not_responding")
    _require(verdict["kind"] == "stopped", "the verdict does not say that the student stopped")
    printer.mark_done()
    return verdict, sent_at


def _receive(receiver: Receiver, support: dict[str, Any]) -> dict[str, Any]:
    arrived = receiver.wait_for("response.stopped")
    _require(arrived["verified"], "the receiver could not verify the signature")
    _require(arrived["body"]["data"]["support"] == support["id"], "the webhook names another support")
    return arrived


def _look(vendor: Vendor, records: StoryRecords) -> None:
    svg = vendor.picture(f"/v1/supports/{records.support_id}/chart.svg")
    _require(
        svg.startswith("<svg") and "Stopped responding" in svg, "the picture does not say that the student stopped"
    )


def _intensify(printer: Printer, vendor: Vendor, records: StoryRecords, support: dict[str, Any]) -> None:
    note = "Daily, alone with the reading specialist."
    decision: dict[str, Any] = {"kind": "intensify", "support": support["id"], "note": note}
    kept = vendor.ask("/v1/decisions", decision, act_for=records.teacher["id"])
    if not kept.is_success:
        # The old goal is too near: the team sets the goal that the refusal proposes.
        _require(kept.json()["code"] == "goal.unrealistic", "the decision was refused for another reason")
        figures = kept.json()["violations"][0]["figures"]
        printer.print_line(
            f"Refused: the old goal would now take {figures['required_rate']:.2f} words a week, and the norms call "
            f"{figures['realistic_rate']:g} realistic. The team sets {figures['proposed_goal']:.0f} instead."
        )
        decision["change"] = {"because": note, "goal": figures["proposed_goal"]}
        phase = vendor.post("/v1/decisions", decision, act_for=records.teacher["id"])["new_phase"]
        printer.print_line(f"Required: {phase['required_rate']:.2f} words a week.")
    phases = vendor.get(f"/v1/supports/{support['id']}")["phases"]
    _require(len(phases) == 2 and phases[0]["ends_on"] == phases[1]["begins_on"], "no phase line was drawn")


def _ask_graphql(vendor: Vendor, records: StoryRecords) -> None:
    student = vendor.graphql(ONE_CALL, id=records.student["id"])["student"]
    _require(len(student["concerns"][0]["supports"][0]["phases"]) == 2, "GraphQL does not show both phases")


def _score(records: StoryRecords, taken_on: date, value: float) -> dict[str, Any]:
    return {"student": records.student_id, "measure": "orf", "taken_on": taken_on.isoformat(), "value": value}


def _first_monday() -> date:
    # No score may be in the future, so the support begins as many weeks ago as there are scores.
    today = datetime.now(UTC).date()
    return today - timedelta(days=today.weekday(), weeks=WEEKS)


def _require(succeeded: object, otherwise: str) -> None:
    if not succeeded:
        raise StepFailed(otherwise)
