"""Declares the public form of core stalls, with their list and commands.

A core stall is a grade in which the share of students at the benchmark fell between two screening windows.
"""

from datetime import date, datetime

from app.access.permission import Can
from app.events.catalogue import CORE_STALL_ACCEPTED, CORE_STALL_DISMISSED
from app.evidence.screening.resource import ScreeningWindowResource
from app.playbook.filters import by_area
from app.playbook.resource import AreaResource, MeasureResource
from app.resources.command import Body, Command
from app.resources.declare import Resource
from app.resources.fields import choice, field, one
from app.resources.listing import Filter, Listing
from app.resources.members import One
from app.roster.filters import of_school
from app.roster.resource import StaffResource
from app.roster.schools import SchoolResource
from app.signal.rule_resource import SignalRuleResource
from app.signal.stalls import service
from app.signal.stalls.models import CoreStall
from app.signal.stalls.rules import StallState


class CoreStallResource(
    Resource[CoreStall], kind="core_stall", requires=Can.READ_SIGNALS, name="CoreStall", get="core_stall"
):
    """A fall in the share of a grade's students at or above the benchmark, from one screening window to the next.

    The same students are counted in both windows. A grade is compared only if, in each window, at least 10 of these
    students are at or above the benchmark and at least 10 are below it.
    """

    rule: One[SignalRuleResource] = one(
        CoreStall.rule_id, SignalRuleResource, "The version of the rule that suggested it."
    )
    window: One[ScreeningWindowResource] = one(CoreStall.window_id, ScreeningWindowResource, "The screening window.")
    window_before: One[ScreeningWindowResource] = one(
        CoreStall.window_before_id, ScreeningWindowResource, "The closed window before it, with which it is compared."
    )
    measure: One[MeasureResource] = one(CoreStall.measure_id, MeasureResource, "The measure.")
    area: One[AreaResource] = one(CoreStall.area_id, AreaResource, "The area of the measure.")
    school: One[SchoolResource] | None = one(
        CoreStall.school_id, SchoolResource, "The school; null if the grade of the whole district is meant."
    )
    grade: str = field(CoreStall.grade, "The grade, as in the roster.", "03")
    state: StallState = choice(
        CoreStall.state, "The state. `lapsed`: the data no longer support it; it may be suggested again."
    )
    digest: str = field(
        CoreStall.digest,
        "The digest of its evidence: window, measure, school and grade. If dismissed, it is never suggested again.",
        "0cc175b9c0f1b6a831c399e269772661",
    )
    seen_on: date = field(CoreStall.seen_on, "The day on which the rule last suggested it.")
    fell_by: int = field(
        CoreStall.fell_by,
        "By how many percentage points, rounded down, the share of the counted students at or above the benchmark "
        "had fallen on that day.",
        12,
    )
    counted_at_least: int = field(
        CoreStall.counted_at_least,
        "A lower limit, in tens, of the number of students who were counted on that day: those screened in both "
        "windows. The exact number is withheld, because the number of the others could follow from it.",
        50,
    )
    settled_by: One[StaffResource] | None = one(
        CoreStall.settled_by, StaffResource, "The person who accepted or dismissed it, if a person did."
    )
    settled_at: datetime | None = field(CoreStall.settled_at, "When it was accepted or dismissed.")
    settled_because: str | None = field(
        CoreStall.settled_because, "Why it was dismissed.", "The winter form was harder for everybody."
    )
    version: int = field(CoreStall.version, "The number of changes; the ETag.", 1)


LISTINGS = (
    Listing(
        "core_stalls",
        CoreStallResource,
        "Core stalls in the order in which they were suggested first: of the caller's schools, and of the district for "
        "a caller who sees all of it.",
        filters=(
            of_school(CoreStall.school_id),
            by_area(CoreStall.area_id),
            Filter(
                "state",
                StallState,
                lambda state: CoreStall.state == state,
                "Only core stalls in this state.",
                StallState.SUGGESTED,
            ),
        ),
        changed_at=CoreStall.updated_at,
    ),
)

COMMANDS = (
    Command(
        "accept_core_stall",
        service.accept_core_stall,
        CoreStallResource,
        "Accepts a core stall. It is on the next agenda of each team that serves the grade.",
        "POST /core-stalls/{core_stall}/accept",
        emits=(CORE_STALL_ACCEPTED,),
    ),
    Command(
        "dismiss_core_stall",
        service.dismiss_core_stall,
        CoreStallResource,
        "Dismisses a core stall, with a reason. It is never suggested again for this window, measure, school and "
        "grade.",
        "POST /core-stalls/{core_stall}/dismiss",
        emits=(CORE_STALL_DISMISSED,),
        body=Body("CoreStallDismissal", "The reason for the dismissal of a core stall."),
    ),
)
