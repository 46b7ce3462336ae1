"""Declares the public shape of incidents and their kinds, with the commands on them."""

from datetime import date, datetime
from operator import attrgetter

from app.access.permission import Can
from app.events.catalogue import PLAYBOOK_PUBLISHED
from app.incident import kinds, service
from app.incident.models import Incident
from app.incident.rules import MAX_BATCH
from app.playbook.models import IncidentKind
from app.resources.command import Body, Command
from app.resources.declare import Link, Resource
from app.resources.fields import field, one
from app.resources.listing import Filter, Flag, Listing
from app.resources.members import One
from app.roster.filters import by_school, by_student
from app.roster.models import Person
from app.roster.resource import StaffResource, StudentResource
from app.team.filters import by_team


class IncidentKindResource(
    Resource[IncidentKind], kind="incident_kind", requires=Can.READ_PLAYBOOK, name="IncidentKind"
):
    """A kind of incident, such as disruption.

    To change a kind, a new row is published in the next version of the playbook.
    """

    code: str = field(IncidentKind.code, "The code by which incidents name it.", "disruption")
    name: str = field(IncidentKind.name, "The name.", "Disruption")
    from_version: int = field(
        IncidentKind.from_version, "The number of the first version of the playbook that has it.", 1
    )
    until_version: int | None = field(
        IncidentKind.until_version, "The number of the first version that does not have it any more.", 4
    )


class IncidentResource(
    Resource[Incident],
    kind="incident",
    requires=Can.READ_INCIDENTS,
    about=Incident.student_id,
    visible=Incident.removed_at.is_(None),
    name="Incident",
    get="incident",
):
    """The part of one student in something that happened at school. It shows no other student who was involved."""

    student: One[StudentResource] = one(Incident.student_id, StudentResource, "The student.")
    occurred_at: datetime = field(Incident.occurred_at, "The instant at which it happened.")
    occurred_on: date = field(Incident.occurred_on, "The day on which it happened, in the district's time zone.")
    kind: One[IncidentKindResource] = one(Incident.kind_id, IncidentKindResource, "The kind.")
    place: str | None = field(Incident.place, "Where it happened, if known.", "Cafeteria")
    response: str | None = field(
        Incident.response, "What the school did, if known.", "Talked with the student and called home."
    )
    shared_reference: str | None = field(
        Incident.shared_reference,
        "The sender's id of the event. The rows with this reference that the caller may see belong to the same event.",
        "event-2026-0417",
    )
    recorded_by: One[StaffResource] | None = one(
        Incident.recorded_by, StaffResource, "The person who recorded it, if a person did."
    )
    external_id: str | None = field(Incident.external_id, "The sender's own id.", "inc-2026-09-28-4711")
    recorded_at: datetime = field(Incident.recorded_at, "When it was recorded.")
    version: int = field(Incident.version, "The number of changes; the ETag.", 1)


LINKS = (
    Link(
        StudentResource,
        "incidents",
        IncidentResource,
        Incident.student_id == Person.id,
        "The student's incidents, by day.",
        order=(Incident.occurred_on, Incident.id),
        paged=True,
    ),
)

LISTINGS = (
    Listing(
        "incident_kinds",
        IncidentKindResource,
        "The kinds of incidents in the order in which they were added, those of earlier versions included.",
        flags=(Flag("in_force", "Only those of the version in force.", on=IncidentKind.until_version.is_(None)),),
        changed_at=IncidentKind.updated_at,
    ),
    Listing(
        "incidents",
        IncidentResource,
        "Incidents in the order in which they were recorded.",
        filters=(
            by_student(Incident.student_id),
            by_school(Incident),
            by_team(Incident.student_id),
            Filter(
                "since",
                date,
                lambda day: Incident.occurred_on >= day,
                "Only incidents of this day or later.",
                date(2026, 9, 1),
            ),
            Filter(
                "until",
                date,
                lambda day: Incident.occurred_on <= day,
                "Only incidents of this day or before.",
                date(2026, 12, 18),
            ),
            Filter(
                "shared_reference",
                str,
                lambda reference: Incident.shared_reference == reference,
                "Only the incidents with this reference, which belong to one event.",
                "event-2026-0417",
                narrow=True,
            ),
        ),
        schools=Incident,
        changed_at=Incident.updated_at,
    ),
)

COMMANDS = (
    Command(
        "publish_incident_kind",
        kinds.publish_incident_kind,
        IncidentKindResource,
        "Publishes a kind of incident in the next version of the playbook. It replaces one of the same code.",
        "POST /incident-kinds",
        emits=(PLAYBOOK_PUBLISHED,),
        status=201,
        row=attrgetter("row"),
        created=attrgetter("is_new"),
        more="200 if the kind in force has this name already.",
    ),
    Command(
        "retire_incident_kind",
        kinds.retire_incident_kind,
        None,
        "Publishes the next version of the playbook without this kind. Incidents of this kind keep it.",
        "DELETE /incident-kinds/{incident_kind}",
        emits=(PLAYBOOK_PUBLISHED,),
        status=204,
    ),
    Command(
        "record_incidents",
        service.record_incidents,
        IncidentResource,
        "Records incidents, each independently: an invalid one is refused alone.",
        "POST /incidents/bulk",
        bulk=MAX_BATCH,
        items="incidents",
        row=attrgetter("row"),
        body=Body("NewIncidents", "Up to 500 incidents."),
    ),
    Command(
        "remove_incident",
        service.remove_incident,
        IncidentResource,
        "Removes an incident that was recorded by mistake. The same incident, sent again, restores it.",
        "POST /incidents/{incident}/remove",
        body=Body("IncidentRemoval", "The reason for the removal of an incident."),
        more="Sending the incident again under the same external id restores it.",
    ),
)
