"""Declares what both APIs show of a planned change: the row and the student that a run would change.

Such changes are listed for runs that wait for approval (held runs), and for runs that are only tried (dry runs).
"""

from typing import Any
from uuid import UUID

from sqlalchemy import Text, any_, cast

from app.access.permission import Can
from app.resources.declare import Join, Resource
from app.resources.fields import choice, computed, field, references
from app.resources.listing import Filter
from app.resources.members import Id
from app.resources.values import Value, item
from app.sis.models import SisPlannedChange, SisPlannedValue
from app.sis.rules import PlannedAction
from app.sis.runs.plans.changes import locate_school
from app.sis.runs.plans.fields import show_fields
from app.sis.runs.plans.kinds import RECORD_KIND


class FieldChangeValue(Value):
    """A field that a planned change sets, with its values as texts.

    For a score, the student, the measure and the date are listed even if they do not change.

    A personal value is plain text for callers who may read the record (`roster:read`, `demographics:read`,
    `grades:read` or `score:read`), and a digest for others. Within a run, equal values have equal digests.
    """

    field: str = item("The field, as the source names it.", "givenName")
    before: str | None = item("The value before; null for a new row.", "Ana")
    after: str | None = item("The value after; null for a removed row.", "Anna")
    digest: bool = item("Whether the values are digests.", False)


class PlannedChangeResource(
    Resource[SisPlannedChange],
    requires=Can.READ_SYNC,
    joins=(Join(SisPlannedValue, SisPlannedValue.id == SisPlannedChange.id, outer=True),),
    about=SisPlannedChange.student_id,
    discloses="sync",
    name="PlannedChange",
):
    """A row in the plan of a held run (one that waits for approval) or of a dry run.

    The run would create, change, bring back or remove the row, or replace its sourcedId.
    """

    id: str = field(
        cast(SisPlannedChange.id, Text), "The number of the change.", "01995f2e-7c2a-7b6e-9d52-5c6f0f1d2a3b"
    )
    kind: str = field(SisPlannedChange.kind, "The kind of row.", "person")
    action: PlannedAction = choice(
        SisPlannedChange.action,
        "create, update, restore (it comes back), remove (marked as deleted), absent (no longer sent, so removed), or "
        "rekey (likely the same person under another sourcedId; the removal and the creation of which it consists are "
        "listed too where they are planned).",
    )
    sourced_id: str | None = field(SisPlannedChange.sourced_id, "The row's id in the source.", "4711")
    schools: list[Id] = references(SisPlannedChange.org_ids, "org", "The schools that it concerns, before or after.")
    fields: list[FieldChangeValue] = computed(
        show_fields,
        (SisPlannedChange.kind, SisPlannedChange.run_id, SisPlannedChange.fields, SisPlannedValue.personal),
        "The fields that change.",
    )


PLANNED_FILTERS: tuple[Filter[Any], ...] = (
    Filter("kind", RECORD_KIND, lambda kind: SisPlannedChange.kind == kind, "Only rows of this kind.", "person"),
    Filter("action", PlannedAction, lambda action: SisPlannedChange.action == action, "Only this action.", "absent"),
    Filter(
        "school",
        str,
        lambda school_id: school_id == any_(SisPlannedChange.org_ids),
        "Only rows that concern this school: an id, or an external id `sis:<source>:<sourcedId>`.",
        "org_01jq4n6d9zf3vbs0x5k2m7e8tc",
        graphql="school_id",
        resolve=locate_school,
        bound=UUID,
    ),
)
