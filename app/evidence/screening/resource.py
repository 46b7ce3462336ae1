"""Declares the public shapes of screening windows and of the measures that are expected in them."""

from datetime import date, datetime

from app.access.permission import Can
from app.events.catalogue import SCREENING_CANCELLED, SCREENING_MOVED, SCREENING_SCHEDULED
from app.evidence.screening import service
from app.evidence.screening.models import ScreeningExpectation, ScreeningWindow
from app.evidence.screening.rules import MAX_MEASURES, WindowGroup, WindowState
from app.playbook.benchmarks.rules import Season
from app.playbook.resource import MeasureResource
from app.resources.command import Body, Command
from app.resources.declare import Link, Resource
from app.resources.fields import choice, field, one
from app.resources.listing import Filter, Listing
from app.resources.members import One
from app.roster.filters import of_school
from app.roster.resource import StaffResource
from app.roster.schools import SchoolResource


class ScreeningWindowResource(
    Resource[ScreeningWindow],
    kind="screening_window",
    requires=Can.READ_PLAYBOOK,
    name="ScreeningWindow",
    get="screening_window",
):
    """The days on which the students of some grades are screened by some measures, in one school or in all."""

    season: Season = choice(ScreeningWindow.season, "The season, which names the norms of the window.")
    school_year: int = field(
        ScreeningWindow.school_year, "The calendar year in which the school year of the window ends.", 2027
    )
    school: One[SchoolResource] | None = one(
        ScreeningWindow.school_id, SchoolResource, "The school; null for a window of all schools."
    )
    opens_on: date = field(ScreeningWindow.opens_on, "The first day.")
    closes_on: date = field(ScreeningWindow.closes_on, "The first day after the window, on which its results are kept.")
    group_by: WindowGroup | None = choice(
        ScreeningWindow.group_by, "The demographic group by which the reports of the window may count."
    )
    state: WindowState = choice(ScreeningWindow.state, "The state of the window.")
    scheduled_by: One[StaffResource] | None = one(
        ScreeningWindow.scheduled_by, StaffResource, "The person who scheduled it, if a person did."
    )
    closed_at: datetime | None = field(ScreeningWindow.closed_at, "When the results of the window were kept.")
    playbook_number: int | None = field(
        ScreeningWindow.playbook_number,
        "The number of the version of the playbook whose cuts its kept results follow.",
        3,
    )
    version: int = field(ScreeningWindow.version, "The number of changes; the ETag.", 1)


class ScreeningExpectationResource(
    Resource[ScreeningExpectation], requires=Can.READ_PLAYBOOK, name="ScreeningExpectation"
):
    """A measure by which the students of some grades are to be screened in a window."""

    measure: One[MeasureResource] = one(ScreeningExpectation.measure_id, MeasureResource, "The measure.")
    grades: list[str] = field(ScreeningExpectation.grades, "The grades, as in the roster.", ["02", "03"])


LINKS = (
    Link(
        ScreeningWindowResource,
        "expected",
        ScreeningExpectationResource,
        ScreeningExpectation.window_id == ScreeningWindow.id,
        "Who is screened, and by which measures.",
        order=(ScreeningExpectation.id,),
        most=MAX_MEASURES,
        inline=True,
    ),
)

LISTINGS = (
    Listing(
        "screening_windows",
        ScreeningWindowResource,
        "Screening windows in the order in which they were scheduled.",
        filters=(
            of_school(ScreeningWindow.school_id),
            Filter(
                "school_year",
                int,
                lambda year: ScreeningWindow.school_year == year,
                "Only windows of the school year that ends in this calendar year.",
                2027,
            ),
            Filter(
                "state",
                WindowState,
                lambda state: ScreeningWindow.state == state,
                "Only windows in this state.",
                WindowState.OPEN,
            ),
        ),
        changed_at=ScreeningWindow.updated_at,
    ),
)

COMMANDS = (
    Command(
        "schedule_screening_window",
        service.schedule_screening_window,
        ScreeningWindowResource,
        "Schedules a screening window. A window that overlaps another of its measure and school is refused.",
        "POST /screening-windows",
        emits=(SCREENING_SCHEDULED,),
        status=201,
        bulk=100,
        items="screening_windows",
        body=Body("NewScreeningWindow", "A screening window to be scheduled."),
    ),
    Command(
        "move_screening_window",
        service.move_screening_window,
        ScreeningWindowResource,
        "Moves a screening window to other days, until its results are kept.",
        "POST /screening-windows/{screening_window}/move",
        emits=(SCREENING_MOVED,),
        body=Body("ScreeningWindowMove", "The new days of a window; a day that is not given does not change."),
    ),
    Command(
        "cancel_screening_window",
        service.cancel_screening_window,
        ScreeningWindowResource,
        "Cancels a screening window, until its results are kept. The scores that were taken in it stay.",
        "POST /screening-windows/{screening_window}/cancel",
        emits=(SCREENING_CANCELLED,),
    ),
)
