"""Fills the playground's district with data over public HTTP.

At the first start it creates a district and records the example of `app.sandbox.story` in it. At later starts it
continues the saved district.

`python -m app.sandbox.demonstration --base-url URL --folder DIR [--roster FILE.zip] [--once]`; the exit code is 0 when
every step succeeded, else 1.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
from rich.console import Console

from app.sandbox.caseload import continue_caseload, record_caseload, verdicts
from app.sandbox.hypotheses import follow_comprehension, record_hypotheses
from app.sandbox.outsiders import Receiver, Vendor, aimline
from app.sandbox.saved_district import SavedDistrict, file_of
from app.sandbox.screening import record_screening
from app.sandbox.story import run_story
from app.sandbox.story_printer import Printer, StepFailed
from app.sandbox.teams_and_groups import record_teams_and_groups

SLUG = "demo"


def main() -> None:
    """Runs the demonstration, and prints the name of the step that fails, if any."""
    parser = argparse.ArgumentParser(prog="app.sandbox.demonstration", description="Show Aimline's story over HTTP.")
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--folder", type=Path, required=True, help="where the district is remembered")
    parser.add_argument("--roster", type=Path, metavar="FILE.zip")
    parser.add_argument("--once", action="store_true", help="play the story in a new district, and save nothing")
    options = parser.parse_args()
    printer = Printer(Console(highlight=False))
    try:
        if options.once:
            with Receiver() as receiver:
                run_story(printer, options.base_url, _free_slug(), options.roster, receiver)
            printer.chapter("Every step held.")
        else:
            _demonstrate(printer, options.base_url, options.folder, options.roster)
    except (StepFailed, httpx.HTTPError, KeyError, LookupError) as error:
        printer.console.print(f"  ✗ {printer.step}", style="bold red", markup=False)
        print(f"The step failed: {printer.step}: {error}", file=sys.stderr)
        sys.exit(1)


def _demonstrate(printer: Printer, base_url: str, folder: Path, roster: Path | None) -> None:
    """Continues the saved district, or creates and saves a new one with the example of `app.sandbox.story`.

    Then prints the addresses to open.
    """
    file, today = file_of(folder, roster), datetime.now(UTC).date()
    saved = SavedDistrict.load(file)
    vendor = None if saved is None else _client_of(base_url, saved)
    if saved is not None and vendor is not None:
        _continue(printer, vendor, saved, today)
    else:
        vendor, saved = _begin(printer, base_url, roster, today)
    saved.data_until = today.isoformat()
    saved.save(file)
    _print_next_steps(printer, base_url, vendor, saved)


def _begin(printer: Printer, base_url: str, roster: Path | None, today: date) -> tuple[Vendor, SavedDistrict]:
    """Creates a new district with the example of `app.sandbox.story`.

    Returns the API client, and the data to save about the district. If no roster file is given, supports with scores
    are added too.
    """
    slug, monday = _free_slug(), today - timedelta(days=today.weekday())
    with Receiver() as receiver:
        vendor, records = run_story(printer, base_url, slug, roster, receiver)
    student, day = str(records.student["id"]), monday.isoformat()
    saved = SavedDistrict(slug, vendor.client_id, vendor.client_secret, student, records.support_id, day, day)
    if roster is None:
        printer.chapter("A caseload to look at")
        saved.caseload = record_caseload(printer, vendor, monday, today, student)
        printer.step = "a team and a group are formed"
        taken = {student, *(entry["student"] for entry in saved.caseload)}
        printer.print_line(record_teams_and_groups(vendor, today, taken))
        printer.step = "supports for comprehension get an additional measure"
        printer.print_line(follow_comprehension(vendor))
        printer.step = "hypotheses are proposed"
        printer.print_line(record_hypotheses(vendor))
        printer.step = "classes are screened"
        printer.print_line(record_screening(vendor, slug, today))
        _print_verdicts(printer, vendor)
    printer.chapter("Every step held. Now you: paste these")
    return vendor, saved


def _continue(printer: Printer, vendor: Vendor, saved: SavedDistrict, today: date) -> None:
    printer.chapter(f"The district {saved.slug} is as you left it")
    if saved.last_day < today:
        printer.step = f"scores and sessions since {saved.last_day:%d %B} arrive"
        scores = continue_caseload(vendor, saved.caseload, saved.monday, saved.last_day, today)
        printer.print_line(f"{scores} scores since {saved.last_day:%d %B %Y}.")
    _print_verdicts(printer, vendor)
    printer.chapter("Go on: paste these")


def _client_of(base_url: str, saved: SavedDistrict) -> Vendor | None:
    """Returns the API client of a saved district, or None if the database no longer has that district."""
    try:
        return Vendor(base_url, saved.client_id, saved.client_secret)
    except StepFailed:
        return None


def _free_slug() -> str:
    """Returns the first of demo, demo-2, demo-3, … that is not yet the short name of a district."""
    slugs = {district["slug"] for district in json.loads(aimline("district", "list", "--json"))["districts"]}
    names = (SLUG if number == 1 else f"{SLUG}-{number}" for number in itertools.count(1))
    return next(name for name in names if name not in slugs)


def _print_verdicts(printer: Printer, vendor: Vendor) -> None:
    counted: Sequence[tuple[str, int]] = verdicts(vendor).most_common()
    printer.print_line(", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counted) + ".")


def _print_next_steps(printer: Printer, base_url: str, vendor: Vendor, saved: SavedDistrict) -> None:
    header = '-H "Authorization: Bearer $TOKEN"'
    query = json.dumps({"query": f'{{ student(id: "{saved.student}") {{ givenName concerns {{ state }} }} }}'})
    lines = (
        f"export TOKEN={vendor.token}",
        f"curl -s {header} '{base_url}/v1/supports?verdict=not_responding'",
        f"curl -s {header} {base_url}/v1/students/{saved.student}/story",
        f"curl -s {header} {base_url}/v1/supports/{saved.support}/chart.svg -o chart.svg",
        f"curl -s {header} -H 'Content-Type: application/json' {base_url}/graphql -d '{query}'",
        "",
        f"REST, to try in a browser:     {base_url}/docs",
        f"GraphQL, to try in a browser:  {base_url}/graphiql",
        "Both work without internet. Authorize there with:",
        f"  client id      {vendor.client_id}",
        f"  client secret  {vendor.client_secret}",
    )
    for line in lines:
        printer.console.print(line, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
