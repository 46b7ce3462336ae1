"""Checks the simulated year: no verdict contradicts its own figures, and alerts and states agree with each other."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from bench.year.records import ALARMS, SupportRecord
from bench.year.state import Year

CLOSED: Final = ("recovered", "retracted", "superseded", "ended", "expired")
CALM: Final = ("responding", "goal_met")
ROUNDING: Final = 1e-5
LEAST_SCORES: Final = 3


@dataclass(frozen=True, slots=True)
class Findings:
    """What the checks found: sentences about verdicts, about alerts, and about webhooks."""

    verdicts: int
    contradictions: list[str]
    alerts: int
    open_alerts: list[str]
    deliveries: int
    webhooks: list[str]


def check(year: Year) -> Findings:
    """Reads every verdict of the year and the whole feed, and checks them."""
    with year.caller.counting("checks"):
        year.read_feed()
        measures = {measure["id"]: measure for measure in year.caller.get("/v1/measures")["items"]}
        history = {
            record.id: list(year.caller.all(f"/v1/supports/{record.id}/verdicts"))
            for record in year.supports
            if record.id
        }
    keys = {record.id: record for record in year.supports if record.id}
    contradictions = [
        f"{keys[support].key}: {fault}"
        for support, verdicts in history.items()
        for verdict in verdicts
        for fault in contradictions_of(verdict, measures[verdict["measure"]], keys[support])
    ]
    open_alerts, alerts = _alerts(year, keys, history)
    deliveries, webhooks = _webhooks(year)
    count = sum(len(verdicts) for verdicts in history.values())
    return Findings(count, contradictions, alerts, open_alerts, deliveries, webhooks)


def contradictions_of(verdict: dict[str, Any], measure: dict[str, Any], record: SupportRecord) -> list[str]:
    """Returns how a verdict contradicts its own probabilities, its label, or the goal that its scores have met."""
    state, faults = verdict["state"], []
    shares = [verdict[name] for name in ("slow", "short", "on_pace")]
    is_growth = measure["kind"] == "growth"
    if is_growth and verdict["sem"] is not None and len(verdict["scores"]) >= LEAST_SCORES and None in shares:
        faults.append(f"{state} without shares from {len(verdict['score_ids'])} scores")
    if None not in shares:
        slow, _, on_pace = shares
        wrong = (
            (abs(sum(shares) - 1) > ROUNDING, f"the shares add to {sum(shares):.4f}"),
            (state == "not_responding" and slow < 0.5, f"not responding, but slow is {slow:.2f}"),
            (state in ALARMS and on_pace >= 0.5, f"{state}, but on pace is {on_pace:.2f}"),
            (state == "responding" and slow >= 0.5, f"responding, but slow is {slow:.2f}"),
            (
                state == "below_pace" and max(slow, on_pace) >= 0.5,
                f"below pace, but slow {slow:.2f}, on pace {on_pace:.2f}",
            ),
        )
        faults += [fault for is_wrong, fault in wrong if is_wrong]
    elif not is_growth and any(share is not None for share in shares):
        faults.append(f"a {measure['kind']} has shares")
    if (state == "not_responding") != (verdict["kind"] is not None):
        faults.append(f"{state} of the kind {verdict['kind']}")
    if state != "not_responding" and "respond" in verdict["label"].lower() and state != "responding":
        faults.append(f"{state} with the label {verdict['label']!r}")
    if state in ALARMS and _meets_goal(verdict, measure, record):
        faults.append(f"{state}, although the median of the last three scores meets the goal")
    return faults


def _meets_goal(verdict: dict[str, Any], measure: dict[str, Any], record: SupportRecord) -> bool:
    goals = {phase["id"]: phase["goal"] for phase in record.last["phases"]}
    goal = goals.get(verdict["phase"]) if verdict["measure"] == record.last["measure"] else None
    for followed in record.last["measures"]:
        if followed["measure"] == verdict["measure"]:
            goal = {each["phase"]: each["goal"] for each in followed["goals"]}.get(verdict["phase"])
    values = [
        value for code, day, value in record.scores if code == measure["code"] and day.isoformat() <= verdict["last_on"]
    ]
    if goal is None or len(values) < LEAST_SCORES:
        return False
    last = median(values[-LEAST_SCORES:])
    return bool(last >= goal if measure["direction"] == "up" else last <= goal)


def _alerts(
    year: Year, keys: dict[str, SupportRecord], history: dict[str, list[dict[str, Any]]]
) -> tuple[list[str], int]:
    """Reads the whole feed. Returns what is wrong with its alerts, and the number of alerts."""
    alerts: dict[str, str] = {}
    faults, opened = [], 0
    for event in year.events:
        kind, data = event["type"].removeprefix("response."), event["data"]
        support = data.get("support")
        if event["type"] == "response.off_track":
            opened += 1
            if support in alerts:
                faults.append(f"{keys[support].key}: an alert was opened while another one was open")
            alerts[support] = data["alert"]
        elif kind in ("never", "stopped", *CLOSED) and event["type"].startswith("response."):
            if alerts.get(support) != data["alert"]:
                faults.append(f"{keys[support].key}: {event['type']} names an alert that is not open")
            if kind in CLOSED:
                alerts.pop(support, None)
    for support, alert in alerts.items():
        faults += [
            f"{keys[support].key}: {fault}" for fault in _faults_of_open(year, keys[support], history[support], alert)
        ]
    for record in keys.values():
        if record.last["state"] == "active" and record.states.get(year.week) in ALARMS and record.id not in alerts:
            faults.append(f"{record.key}: {record.states[year.week]} without an open alert")
    return faults, opened


def _faults_of_open(year: Year, record: SupportRecord, verdicts: list[dict[str, Any]], alert: str) -> list[str]:
    support, phase = record.last, record.last["phases"][-1]
    raised = next((verdict for verdict in verdicts if verdict["id"] == alert), None)
    calm = [record.states.get(week) in CALM for week in sorted(record.states)][-LEAST_SCORES:]
    wrong = (
        (raised is None, "the open alert is no verdict of the support"),
        (support["state"] not in ("active", "suspended"), f"open, although the support is {support['state']}"),
        (raised is not None and raised["phase"] != phase["id"], "open since an earlier phase"),
        (phase["goal_on"] is not None and phase["goal_on"] < year.today.isoformat(), "open after the goal's date"),
        (len(calm) == LEAST_SCORES and all(calm), "open after three calm weeks"),
    )
    return [fault for is_wrong, fault in wrong if is_wrong]


def _webhooks(year: Year) -> tuple[int, list[str]]:
    """Checks that the receiver got the events of the feed, each with a valid signature.

    Returns the number of received deliveries, and what was wrong.
    """
    received = year.installation.receiver.received()
    faults = [f"a delivery of {each['type']} could not be verified" for each in received if not each["verified"]]
    prefixes = ("response.", "support.", "goal.", "decision.made", "probe.requested")
    expected = sorted(each["type"] for each in year.events if each["type"].startswith(prefixes))
    got = sorted(each["type"] for each in {each["webhook-id"]: each for each in received}.values())
    if expected != got:
        faults.append(f"the feed has {len(expected)} of these events, and the receiver got {len(got)}")
    return len(received), faults
