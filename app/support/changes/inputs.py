"""Declares the inputs of the commands that plan and change supports, with their descriptions and bounds."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated

from app.core.inputs import About, AtMost, Between, Choices
from app.core.text import Text
from app.support.rules import Starts

BECAUSE = Text(min=1, max=4000)
"""The length limits of the reason for which a support ends."""

LIBRARY_ENTRY = About(
    "The entry of the intervention library that it follows: a code, for the version in force, or an id.",
    "repeated-reading",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSupport:
    """The input of `plan_support`.

    Either `library_entry` or `intervention` is required. A support with a `measure` needs `goal` and `goal_on`. A
    support without one needs `review_on`, and also `area` unless concerns are given. `level` is the rank of the level
    of support; 1 is the least intensive. If `baseline` is None, the median of the last three scores is used.
    """

    student: Annotated[
        str,
        About("The student: an id, or an external id `sis:<source>:<sourcedId>`.", "stu_01jq4n6d9zf3vbs0x5k2m7e8ta"),
    ]
    level: Annotated[int, About("The rank of a level: 2 is targeted by default.", 2)]
    starts_on: Annotated[date, About("The first day.", date(2026, 9, 21))]
    minutes_per_session: Annotated[int, About("The planned minutes of a session.", 30)]
    sessions_per_week: Annotated[int, About("The planned sessions of a week.", 4)]
    intervention: Annotated[
        str | None,
        Text(min=1, max=400),
        About(
            "The intervention in free words; by default, the name of the library's entry.",
            "Repeated reading with feedback",
        ),
    ] = None
    library_entry: Annotated[str | None, LIBRARY_ENTRY] = None
    measure: Annotated[
        str | None,
        About(
            "The measure by which the response is followed: a code or an id. Mentoring or counselling may have none.",
            "orf",
        ),
    ] = None
    goal: Annotated[float | None, About("The value at which the aimline ends, in the measure's unit.", 70.0)] = None
    goal_on: Annotated[date | None, About("The day on which the aimline reaches the goal.", date(2027, 2, 12))] = None
    review_on: Annotated[
        date | None,
        About("The day on which a support without a measure is reviewed, in place of a goal.", date(2026, 12, 1)),
    ] = None
    area: Annotated[
        str | None,
        About("The area: a code or an id; by default, that of its first concern, or of its measure.", "ela.fluency"),
    ] = None
    baseline: Annotated[
        float | None,
        About("The value at which the aimline begins; by default, the median of the last three scores.", 42.0),
    ] = None
    concerns: Annotated[
        tuple[str, ...],
        AtMost(100),
        About("The ids of the accepted concerns that it answers.", ("con_01jq4n6d9zf3vbs0x5k2m7e8te",)),
    ] = ()
    lead: Annotated[
        str | None,
        About(
            "The person who leads the support: an id, or an external id `sis:<source>:<sourcedId>`.",
            "per_01jq4n6d9zf3vbs0x5k2m7e8tb",
        ),
    ] = None
    provider: Annotated[
        str | None,
        About(
            "Who provides it: an id, or an external id `sis:<source>:<sourcedId>`.", "per_01jq4n6d9zf3vbs0x5k2m7e8tb"
        ),
    ] = None
    group_size: Annotated[
        int | None, Between(1, 40), About("The number of students who are served together, if it is planned.", 4)
    ] = None
    starts: Annotated[
        str,
        Choices(Starts),
        About(
            "`on_its_day`: the support becomes active by itself on its first day, at once if that day is not in the "
            "future. `manually`: it stays planned until somebody starts it.",
            "on_its_day",
        ),
    ] = "on_its_day"
    confirm_rate: Annotated[
        bool,
        About("Whether the goal is meant although it requires more growth than the norms call realistic.", False),
    ] = False


@dataclass(frozen=True, slots=True)
class SupportChange:
    """The input of `change_support`: the plan of the phase that follows, and the day on which it begins.

    `begins_on` and `baseline` have the defaults that their descriptions state. Any other field that is None keeps the
    value of the current phase.
    """

    because: Annotated[
        str, Text(min=1, max=4000), About("The reason for the change.", "Four scores below the aimline.")
    ]
    begins_on: Annotated[
        date | None, About("The first day of the new phase; by default, today.", date(2026, 11, 30))
    ] = None
    level: Annotated[int | None, About("The rank of the new level.", 3)] = None
    goal: Annotated[float | None, About("The new goal.", 75.0)] = None
    goal_on: Annotated[date | None, About("The new day of the goal.", date(2027, 3, 12))] = None
    baseline: Annotated[
        float | None,
        About("The value at which the new aimline begins; by default, the median of the last three scores.", 46.0),
    ] = None
    minutes_per_session: Annotated[int | None, About("The new number of minutes of a session.", 40)] = None
    sessions_per_week: Annotated[int | None, About("The new number of sessions in a week.", 5)] = None
    intervention: Annotated[
        str | None,
        Text(min=1, max=400),
        About("Another intervention, such as a stronger programme at the same level.", "Phonics, one to one"),
    ] = None
    library_entry: Annotated[str | None, LIBRARY_ENTRY] = None
    review_on: Annotated[
        date | None, About("The next day of review, of a support without a measure.", date(2027, 1, 15))
    ] = None
    group_size: Annotated[
        int | None, Between(1, 40), About("The new number of students who are served together.", 2)
    ] = None
    confirm_rate: Annotated[
        bool,
        About("Whether the goal is meant although it requires more growth than the norms call realistic.", False),
    ] = False
