"""Declares what both APIs show of schools, classes, terms and breaks."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import and_
from sqlalchemy.orm import InstrumentedAttribute

from app.access.permission import Can
from app.resources.declare import AddedLink, Join, Link, Resource
from app.resources.fields import field, one, reference
from app.resources.listing import Filter, Listing
from app.resources.members import Id, One
from app.resources.select import ResourceType
from app.roster.filters import NAMED, of_school, resolver
from app.roster.models import AcademicSession, ExternalId, Org, SchoolBreak, SchoolClass, Source
from app.roster.queries import find_class, find_school


class ExternalIdResource(
    Resource[ExternalId],
    requires=Can.READ_ROSTER,
    key=ExternalId.row_id,
    name="ExternalId",
    joins=(Join(Source, Source.id == ExternalId.source_id),),
):
    """A row's id in a source; `sis:<source>:<sourcedId>` is accepted wherever an id is."""

    source: str = field(Source.name, "The name of the source.", "sis")
    sourced_id: str = field(ExternalId.sourced_id, "The row's id in this source.", "4711")


class SchoolResource(
    Resource[Org],
    kind="org",
    requires=Can.READ_ROSTER,
    name="School",
    get="school",
    locate=resolver("org", find_school),
):
    """A school, or another org of the district."""

    name: str = field(Org.name, "The name.", "Jefferson Elementary")
    type: str = field(Org.type, "The type as in OneRoster, such as `school` or `district`.", "school")
    identifier: str | None = field(Org.identifier, "The number that the state has given it.", "0042")


class ClassResource(
    Resource[SchoolClass],
    kind="class",
    requires=Can.READ_ROSTER,
    name="Class",
    get="class",
    locate=resolver("class", find_class),
):
    """A homeroom or a scheduled section of a course."""

    school: One[SchoolResource] = one(SchoolClass.school_id, SchoolResource, "The school that it belongs to.")
    title: str = field(SchoolClass.title, "The title.", "Reading, section 2")
    code: str | None = field(SchoolClass.code, "The code in the SIS.", "RD-2")
    type: str = field(SchoolClass.type, "The type as in OneRoster: `homeroom` or `scheduled`.", "scheduled")
    grades: list[str] = field(SchoolClass.grades, "The grades as CEDS codes.", ["03"])
    subjects: list[str] = field(SchoolClass.subjects, "The names of the subjects.", ["Reading"])


class TermResource(
    Resource[AcademicSession], kind="academic_session", requires=Can.READ_ROSTER, name="Term", get="term"
):
    """A school year, semester, term or grading period."""

    title: str = field(AcademicSession.title, "The title.", "Fall 2026")
    type: str = field(
        AcademicSession.type, "The type as in OneRoster, such as `schoolYear` or `gradingPeriod`.", "gradingPeriod"
    )
    starts_on: date = field(AcademicSession.starts_on, "The first day.")
    ends_on: date = field(AcademicSession.ends_on, "The last day, exclusive.")
    school_year: int | None = field(AcademicSession.school_year, "The year in which its school year ends.", 2027)
    parent_id: Id | None = reference(
        AcademicSession.parent_id, "academic_session", "The term that it is part of.", rest="parent"
    )


class BreakResource(
    Resource[SchoolBreak],
    kind="break",
    requires=Can.READ_ROSTER,
    name="SchoolBreak",
    node=False,
    visible=SchoolBreak.removed_at.is_(None),
):
    """A period of days without school, which includes its first and its last day.

    A week whose weekdays all lie in breaks is not an instructional week.
    """

    school: One[SchoolResource] | None = one(
        SchoolBreak.school_id,
        SchoolResource,
        "The school; null for a break of the whole district, which schools that are added later have too.",
    )
    begins_on: date = field(SchoolBreak.begins_on, "The first day.")
    ends_on: date = field(SchoolBreak.ends_on, "The last day, included.")
    name: str | None = field(SchoolBreak.name, "The name of the break.", "Winter break")
    declared_at: datetime = field(SchoolBreak.declared_at, "When it was declared.")


def link_external_ids(resource: ResourceType, row_id: InstrumentedAttribute[UUID], description: str) -> AddedLink:
    """Returns the link from a roster row to its ids in the sources. A response shows these ids inside the row."""
    return Link(
        resource,
        "external_ids",
        ExternalIdResource,
        ExternalId.row_id == row_id,
        description,
        order=(Source.name, ExternalId.sourced_id),
        inline=True,
    )


LINKS = (
    link_external_ids(SchoolResource, Org.id, "Its ids in the sources."),
    link_external_ids(ClassResource, SchoolClass.id, "Its ids in the sources."),
)

LISTINGS = (
    Listing(
        "schools",
        SchoolResource,
        "The district's schools.",
        condition=and_(Org.type == "school", Org.removed_at.is_(None)),
        changed_at=Org.updated_at,
    ),
    Listing(
        "classes",
        ClassResource,
        "The district's classes, of one school or of all.",
        filters=(of_school(SchoolClass.school_id),),
        condition=SchoolClass.removed_at.is_(None),
        changed_at=SchoolClass.updated_at,
    ),
    Listing(
        "terms",
        TermResource,
        "The district's school years, terms and grading periods.",
        condition=AcademicSession.removed_at.is_(None),
        changed_at=AcademicSession.updated_at,
    ),
    Listing(
        "breaks",
        BreakResource,
        "The district's breaks; with a school, only those that apply to it.",
        filters=(
            Filter(
                "school",
                str,
                lambda school: SchoolBreak.school_id.is_(None) | (SchoolBreak.school_id == school),
                f"Only breaks that apply to this school: {NAMED}.",
                "org_01jq4n6d9zf3vbs0x5k2m7e8tc",
                graphql="school_id",
                resolve=resolver("org", find_school),
                bound=UUID,
            ),
        ),
        changed_at=SchoolBreak.updated_at,
    ),
)
