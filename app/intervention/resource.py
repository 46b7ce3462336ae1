"""Declares the public shape of the intervention library: its entries, their list and their commands."""

from datetime import datetime
from operator import attrgetter

from app.access.permission import Can
from app.events.catalogue import INTERVENTION_PUBLISHED, INTERVENTION_RETIRED
from app.intervention import service, transfer
from app.intervention.models import Intervention
from app.intervention.rules import MAX_AT_ONCE, InterventionState
from app.playbook.resource import AreaResource
from app.resources.command import Body, Command
from app.resources.declare import Resource
from app.resources.fields import choice, field, many_by_ids, references
from app.resources.listing import Filter, Listing
from app.resources.members import Id, Many
from app.resources.values import Value, item


class InterventionResource(
    Resource[Intervention],
    kind="intervention",
    requires=Can.READ_PLAYBOOK,
    name="Intervention",
    get="intervention",
):
    """One version of an entry of the intervention library. A published version never changes."""

    code: str = field(Intervention.code, "The code, which all versions of the entry have.", "repeated-reading")
    number: int = field(Intervention.number, "The number of the version.", 2)
    state: InterventionState = choice(Intervention.state, "The state of the version.")
    name: str = field(Intervention.name, "The name.", "Repeated reading with feedback")
    area_ids: list[Id] = references(
        Intervention.area_ids, "area", "The ids of the areas that it is for.", rest="areas", graphql=None
    )
    areas: Many[AreaResource] = many_by_ids(Intervention.area_ids, AreaResource, "The areas that it is for.", rest=None)
    levels: list[int] = field(Intervention.levels, "The ranks of the levels that it is for.", [2, 3])
    minutes_per_session: int | None = field(Intervention.minutes_per_session, "The usual minutes of a session.", 20)
    sessions_per_week: int | None = field(Intervention.sessions_per_week, "The usual sessions of a week.", 4)
    group_from: int | None = field(Intervention.group_from, "The smallest group.", 1)
    group_to: int | None = field(Intervention.group_to, "The largest group.", 4)
    materials: str | None = field(
        Intervention.materials, "The materials that are needed.", "Passages of 100 to 150 words."
    )
    steps: list[str] = field(Intervention.steps, "The steps, in order.", ["Read the passage aloud."])
    checklist: list[str] = field(
        Intervention.checklist,
        "The checklist by which adherence is checked after a session, in order.",
        ["The student read it twice."],
    )
    entry_criteria: str | None = field(
        Intervention.entry_criteria, "The students that it is meant for.", "Accurate and slow readers."
    )
    exit_criteria: str | None = field(
        Intervention.exit_criteria,
        "The criterion by which it has achieved its purpose.",
        "At the benchmark of two windows.",
    )
    evidence_note: str | None = field(
        Intervention.evidence_note, "What is known about its effects.", "Meta-analysis of 2004."
    )
    languages: list[str] = field(Intervention.languages, "The languages in which it exists.", ["en", "es"])
    published_at: datetime | None = field(Intervention.published_at, "When the version was published.")
    retired_at: datetime | None = field(Intervention.retired_at, "When the version was retired.")
    version: int = field(Intervention.version, "The number of changes of this row; the ETag.", 1)


class ImportedInterventionsValue(Value):
    """The number of entries that an import has written."""

    drafted: int = item("The entries that were written as drafts.", 12)
    unchanged: int = item("The entries that equal the newest version of their code.", 30)


LISTINGS = (
    Listing(
        "interventions",
        InterventionResource,
        "The entries of the intervention library in the order in which they were written, with all their versions.",
        filters=(
            Filter(
                "code", str, lambda code: Intervention.code == code, "Only versions of this entry.", "repeated-reading"
            ),
            Filter(
                "state",
                InterventionState,
                lambda state: Intervention.state == state,
                "Only versions in this state.",
                InterventionState.PUBLISHED,
            ),
        ),
        changed_at=Intervention.updated_at,
    ),
)

COMMANDS = (
    Command(
        "draft_interventions",
        service.draft_interventions,
        InterventionResource,
        "Writes entries of the intervention library as drafts, each with its own result. An entry that equals the "
        "newest version of its code is unchanged.",
        "POST /interventions",
        bulk=MAX_AT_ONCE,
        items="interventions",
        body=Body("NewInterventions", "Up to 500 entries of the intervention library."),
        row=attrgetter("entry"),
    ),
    Command(
        "import_interventions",
        transfer.import_interventions,
        None,
        "Writes the entries of a CSV file as drafts, all or none. In a cell with a list, each entry has a line.",
        "POST /interventions/import",
        value=ImportedInterventionsValue,
        answer="ImportedInterventions",
        body=Body("InterventionsCsv", "The intervention library as CSV."),
    ),
    Command(
        "publish_intervention",
        service.publish_intervention,
        InterventionResource,
        "Publishes a draft. The version of the same code that was published until then is retired.",
        "POST /interventions/{intervention}/publish",
        emits=(INTERVENTION_PUBLISHED,),
    ),
    Command(
        "retire_intervention",
        service.retire_intervention,
        InterventionResource,
        "Retires a published version, or drops a draft. No further support can cite it, and those that do keep it.",
        "POST /interventions/{intervention}/retire",
        emits=(INTERVENTION_RETIRED,),
    ),
)
