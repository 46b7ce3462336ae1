"""Reports what the simulated year showed: failed checks, numbers of API calls, and the weekly states of each series."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from bench.year.checks import Findings, check
from bench.year.records import TeamRecord
from bench.year.state import OFF, Year

LETTERS: Final = {
    "no verdict": "·",
    "insufficient_data": "·",
    "responding": "r",
    "below_pace": "b",
    "goal_met": "G",
    "uncertain": "u",
    "off_track": "O",
    "not_responding": "N",
    "under_delivered": "d",
    "planned": "p",
    "suspended": "s",
    "ended": "e",
}


@dataclass(frozen=True, slots=True)
class Report:
    """The results of a simulated year. `failed` lists the checks that failed."""

    weeks: int
    students: int
    seed: int
    findings: Findings
    faults: list[str]
    notes: list[str]
    calls: dict[str, int]
    calls_per_week: float
    lessons: int
    lesson_calls: int
    decisions: dict[str, int]
    proposed_goals: int
    meetings: dict[str, dict[str, Any]]
    truth: dict[str, int]
    events: dict[str, int]
    series: dict[str, dict[str, Any]]

    @property
    def failed(self) -> list[str]:
        """Returns a sentence for each check that failed."""
        findings = self.findings
        sentences = [*findings.contradictions, *findings.open_alerts, *findings.webhooks, *self.faults]
        if self.lesson_calls != self.lessons:
            sentences.append(f"{self.lessons} group lessons took {self.lesson_calls} calls")
        return sentences

    def as_json(self) -> str:
        """Returns the report as JSON."""
        return json.dumps({**asdict(self), "failed": self.failed}, indent=1, default=str)


def report_of(year: Year) -> Report:
    """Returns the report of a year that was simulated to its end."""
    outside = {"test clock", "checks"}
    by_purpose = dict(year.caller.calls.most_common())
    weekly = sum(
        by_purpose.get(name, 0) for name in ("scores", "sessions", "group lessons", "verdicts", "feed", "meetings")
    )
    return Report(
        weeks=year.weeks,
        students=year.roster.students,
        seed=year.seed,
        findings=check(year),
        faults=year.faults,
        notes=year.notes,
        calls={name: count for name, count in by_purpose.items() if name not in outside},
        calls_per_week=weekly / max(year.taught, 1),
        lessons=year.lessons,
        lesson_calls=by_purpose.get("group lessons", 0),
        decisions=dict(year.by_kind),
        proposed_goals=year.proposed_goals,
        meetings={team.name: _meetings_of(team) for team in year.teams.values()},
        truth=_truth_of(year),
        events=dict(Counter(event["type"] for event in year.events).most_common()),
        series={
            record.key: {
                "states": "".join(
                    "|" if week in OFF else LETTERS.get(record.states.get(week, ""), " ")
                    for week in range(1, year.weeks)
                ),
                "decisions": record.decisions,
            }
            for record in year.supports
        },
    )


def _truth_of(year: Year) -> dict[str, int]:
    """Returns the numbers of records, other than supports, that the benchmark expects."""
    states = Counter(f"signals {each.state}" for each in year.signals.values())
    states.update(f"hypotheses {each.state}" for each in year.hypotheses)
    states.update(f"action items {each.state}" for each in year.actions)
    return {"concerns": len(year.concerns), "groups formed from the agenda": year.formed, **states}


def _meetings_of(team: TeamRecord) -> dict[str, Any]:
    """Returns the figures of a team's meetings: sums, the smallest and largest agendas, and the figures of each
    meeting.
    """
    items = [meeting["items"] for meeting in team.meetings] or [0]
    sums = {
        name: sum(meeting.get(name, 0) for meeting in team.meetings)
        for name in ("items", "discussed", "carried", "dropped", "decisions", "actions", "doubled")
    }
    kinds: Counter[str] = Counter()
    for meeting in team.meetings:
        kinds.update(meeting["kinds"])
    sizes = {"fewest": min(items), "median": median(items), "most": max(items)}
    return {"meetings": len(team.meetings), **sums, **sizes, "kinds": dict(kinds), "each": team.meetings}


def print_report(report: Report) -> None:
    """Prints the report for people."""
    findings = report.findings
    print(f"\n{report.students} students, {len(report.series)} supports, {report.weeks} weeks, seed {report.seed}")
    print(f"{findings.verdicts} verdicts; {len(findings.contradictions)} contradict their own figures")
    print(f"{findings.alerts} alerts; {len(findings.open_alerts)} are wrong or open without a state that shows them")
    print(f"{findings.deliveries} webhooks; {len(findings.webhooks)} faults")
    print(f"{report.lessons} group lessons in {report.lesson_calls} calls")
    print(f"{report.calls_per_week:.0f} calls in a school week: scores, sessions, lessons, verdicts, feed and meetings")
    print("calls: " + ", ".join(f"{name} {count}" for name, count in report.calls.items()))
    print("decisions: " + ", ".join(f"{name} {count}" for name, count in report.decisions.items()))
    for name, figures in report.meetings.items():
        words = (
            "{name}: {meetings} meetings with {items} items ({fewest} to {most}, median {median:g}): {discussed} "
            "discussed, {carried} carried, {dropped} dropped; {decisions} decisions, {actions} action items; {doubled} "
            "items about what another item of the agenda is about"
        )
        print(words.format(name=name, **figures))
        print("  " + ", ".join(f"{kind} {count}" for kind, count in sorted(figures["kinds"].items())))
    print(", ".join(f"{name} {count}" for name, count in report.truth.items()))
    print(f"goals above the norms for which the proposed goal was taken: {report.proposed_goals}")
    print("events: " + ", ".join(f"{name} {count}" for name, count in report.events.items()))
    print("\n" + ", ".join(f"{letter} {name.replace('_', ' ')}" for name, letter in LETTERS.items()) + ", | break")
    for key, series in report.series.items():
        decisions = ", ".join(f"{kind} in {week}" for week, kind in series["decisions"])
        print(f"{key:24} {series['states']}  {decisions}")
    for note in report.notes:
        print(f"note: {note}")
    print("\n" + ("Every promise held." if not report.failed else f"{len(report.failed)} promises did not hold:"))
    for sentence in report.failed:
        print(f"  {sentence}")
