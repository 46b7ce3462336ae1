"""Simulates a school year of the team of one grade, by requests over public HTTP.

The district is a sandbox with a test clock. The year has four classes, some 27 supports of all kinds, weekly scores,
sessions, decisions, breaks, and a webhook receiver. Some people leave, move or return. The report has each series by
week. The exit code is 1 if a promise does not hold.

`python3 dev.py python -m bench.year [--seed 1] [--weeks 37] [--students 100] [--json] [--charts FOLDER]`
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.year.caller import Caller
from bench.year.ending import end_year
from bench.year.installation import Installation, installed
from bench.year.observing import read_states
from bench.year.report import Report, print_report, report_of
from bench.year.roster import Roster
from bench.year.script import play_week
from bench.year.state import Year

CHARTS = 30
"""The largest number of charts that are saved."""


def play(
    installation: Installation, *, seed: int, weeks: int, students: int, charts: Path | None = None, quiet: bool = False
) -> Report:
    """Simulates the year in a running installation, and returns the report."""
    caller = Caller(installation.base_url, installation.client_id, installation.client_secret)
    year = Year(installation, caller, seed, weeks, Roster(students))
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("school weeks", total=weeks)
        for week in range(weeks):
            year.week = week
            play_week(year)
            bar.advance(task)
    year.week = weeks
    year.move_to(year.day(0))
    year.read_feed()
    read_states(year)
    end_year(year)
    if charts is not None:
        _save_charts(year, charts)
    report = report_of(year)
    caller.close()
    return report


def _save_charts(year: Year, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with year.caller.counting("checks"):
        for record in [each for each in year.supports if each.id and each.child.plan.measures][:CHARTS]:
            picture = year.caller.ask("GET", f"/v1/supports/{record.id}/chart.svg")
            year.require(picture.is_success, f"the chart of {record.key!r} answered {picture.status_code}")
            (folder / f"{record.key.replace(' ', '-').replace(',', '')}.svg").write_bytes(picture.content)
        for name, group in year.groups.items():
            picture = year.caller.ask("GET", f"/v1/groups/{group}/chart.svg")
            if picture.is_success:
                (folder / f"group-{name}.svg").write_bytes(picture.content)
        for name, team in year.teams.items():
            pages = {"agenda": f"/v1/teams/{team.id}/agenda.html"}
            if team.meetings:
                longest = max(team.meetings, key=lambda meeting: int(meeting["items"]))
                pages["recap"] = f"/v1/meetings/{longest['meeting']}/recap.html"
                pages["agenda-then"] = f"/v1/teams/{team.id}/agenda.html?meeting={longest['meeting']}"
            for kind, path in pages.items():
                page = year.caller.ask("GET", path)
                year.require(page.is_success, f"the page {kind} of {team.name} answered {page.status_code}")
                (folder / f"{kind}-{name}.html").write_bytes(page.content)


def main() -> None:
    """Reads the command-line arguments and runs the benchmark."""
    parser = argparse.ArgumentParser(prog="bench.year", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--weeks", type=int, default=37, help="school weeks, with the breaks and the first week")
    parser.add_argument("--students", type=int, default=100)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--charts", type=Path, metavar="FOLDER", help="save charts and pages of meetings in this folder"
    )
    options = parser.parse_args()
    with installed() as installation:
        report = play(
            installation, seed=options.seed, weeks=options.weeks, students=options.students, charts=options.charts
        )
    if options.json:
        print(report.as_json())
    else:
        print_report(report)
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
