"""Declares the commands with which a district administers measures and breaks."""

from operator import attrgetter

from app.playbook.measures.service import make_measure
from app.playbook.resource import MeasureResource
from app.resources.command import Body, Command
from app.response.administration import breaks, measures
from app.response.administration.test_clock import move_test_clock
from app.roster.schools import BreakResource

SHORTLY = "The affected series are judged again shortly afterwards, which raises no alerts."
COMMANDS = (
    Command(
        "make_measure",
        make_measure,
        MeasureResource,
        "Creates a measure. Until a rule names it, the rule for its area judges it, otherwise the general rule.",
        "POST /measures",
        status=201,
        body=Body("NewMeasure", "A measure to be created."),
    ),
    Command(
        "amend_measure",
        measures.amend_measure,
        MeasureResource,
        "Changes a measure. If its SEM changes, its series are judged again shortly afterwards, without alerts.",
        "PATCH /measures/{measure}",
        body=Body(
            "MeasureChanges",
            "Changes of a measure; other fields keep their values. Direction, kind and area are fixed once it is in "
            "use. Another code is refused.",
        ),
        more="A change that would invalidate recorded scores is refused: another direction, kind or area once there "
        "are scores or supports, or a range or list of forms that excludes scores.",
    ),
    Command(
        "declare_break",
        breaks.declare_break,
        BreakResource,
        "Declares a break of the school year.",
        "POST /breaks",
        status=201,
        body=Body(
            "NewSchoolBreak",
            "Days without school to be declared. Declaring the same days of the same school again returns the same "
            "break.",
        ),
        row=attrgetter("row"),
        created=attrgetter("is_new"),
        more=f"201, or 200 if it exists already. {SHORTLY}",
    ),
    Command(
        "remove_break",
        breaks.remove_break,
        None,
        "Removes a break; its weeks become instructional weeks again.",
        "DELETE /breaks/{break_}",
        status=204,
        more=SHORTLY,
    ),
    Command(
        "move_test_clock",
        move_test_clock,
        None,
        "Moves the day of a sandbox district, so that a school year can be played in minutes.",
        "POST /test-clock",
        status=204,
        body=Body("TestClockMove", "The day that a sandbox district takes for today."),
        more="Only the district's day moves: tokens, leases, retries, limits and recorded instants keep real time. "
        "What is due on that day is done shortly afterwards. Refused for a district that is not a sandbox.",
    ),
)
