"""Imports and exports the intervention library as CSV. An import writes all of its entries, or none."""

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Final

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import Conflict, Violation
from app.core.inputs import About
from app.core.text import Text
from app.core.violations import Violations
from app.intervention.csv_format import CsvText, read_csv
from app.intervention.inputs import NewIntervention
from app.intervention.models import Intervention
from app.intervention.rules import MAX_AT_ONCE, InterventionState
from app.intervention.service import NUMBERS, TEXTS, draft_interventions
from app.playbook.models import Area

CSV = Text(min=1, max=1_000_000)
READ_AT_ONCE: Final = 50
"""The number of entries that an export reads with one statement."""
_COPIED = ("code", *TEXTS, *NUMBERS, "levels", "steps", "checklist", "languages")


@dataclass(frozen=True, slots=True)
class ImportedInterventions:
    """How many entries an import has written as drafts, and how many it left out because they were already stored."""

    drafted: int
    unchanged: int


@needs(Can.PUBLISH_PLAYBOOK)
async def import_interventions(
    work: Work,
    csv: Annotated[
        str,
        CSV,
        About("The entries: a header with the names of the fields, then a row each.", "code,name\nphonics,Phonics"),
    ],
) -> ImportedInterventions:
    """Writes the entries of a CSV file as drafts; raises `Invalid` with every violation, by row and column.

    A violation at `/csv/3/levels` is about the third entry of the file.
    """
    CSV.require(csv, "/csv")
    rows, form_violations = read_csv(csv, "/csv")
    violations = Violations(form_violations)
    if not form_violations and not rows:
        violations.add([Violation("/csv", "interventions.count", f"Send 1 to {MAX_AT_ONCE} entries at once.")])
    outcomes: Counter[str] = Counter()
    if rows:
        entries = [NewIntervention(**row) for row in rows.values()]
        try:
            results = await draft_interventions(work, entries, at="/csv", positions=list(rows))
        except Conflict:
            violations.refuse()  # the violations of the file come before a library that is full
            raise
        for result in results:
            violations.add(result.violations)
            outcomes[result.outcome] += 1
    violations.refuse()
    return ImportedInterventions(outcomes["recorded"] + outcomes["amended"], outcomes["unchanged"])


@needs(Can.READ_PLAYBOOK)
async def export_interventions(work: Work) -> bytes:
    """Returns the published entries of the library as CSV, ordered by code, in the format of `import_interventions`.

    The entries are read in parts, because a library may have some tens of megabytes.
    """
    areas = dict((await work.db.execute(select(Area.id, Area.code).where(Area.district_id == work.district_id))).all())
    query = (
        select(*(getattr(Intervention, name) for name in _COPIED), Intervention.area_ids)
        .where(Intervention.district_id == work.district_id, Intervention.state == InterventionState.PUBLISHED)
        .order_by(Intervention.code)
        .limit(READ_AT_ONCE)
    )
    text, last, is_complete = CsvText(), "", False
    while not is_complete:
        rows = (await work.db.execute(query.where(Intervention.code > last))).mappings().all()
        text.write({**row, "areas": [areas[area_id] for area_id in row["area_ids"]]} for row in rows)
        is_complete = len(rows) < READ_AT_ONCE
        last = rows[-1]["code"] if rows else last
    return text.content()
