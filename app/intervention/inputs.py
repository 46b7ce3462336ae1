"""Declares the input of the commands that write the intervention library, with its descriptions and bounds."""

from dataclasses import dataclass
from typing import Annotated

from app.core.inputs import About, AtMost
from app.core.text import Text
from app.intervention.rules import MAX_PARTS


@dataclass(frozen=True, slots=True, kw_only=True)
class NewIntervention:
    """An entry of the intervention library, to be written as a draft. It replaces the draft of the same code."""

    code: Annotated[
        str,
        Text(min=1, max=60),
        About("The code: small letters and digits, with `-`, `_` or `.` between them.", "repeated-reading"),
    ]
    name: Annotated[str, Text(min=1, max=200), About("The name.", "Repeated reading with feedback")]
    areas: Annotated[
        tuple[str, ...], AtMost(50), About("The areas that it is for: codes or ids.", ("ela.fluency",))
    ] = ()
    levels: Annotated[tuple[int, ...], AtMost(20), About("The ranks of the levels that it is for.", (2, 3))] = ()
    minutes_per_session: Annotated[int | None, About("The usual minutes of a session.", 20)] = None
    sessions_per_week: Annotated[int | None, About("The usual sessions of a week.", 4)] = None
    group_from: Annotated[int | None, About("The smallest group.", 1)] = None
    group_to: Annotated[int | None, About("The largest group.", 4)] = None
    materials: Annotated[
        str | None, Text(max=4000), About("The materials that are needed.", "Passages of 100 to 150 words.")
    ] = None
    steps: Annotated[
        tuple[str, ...], AtMost(MAX_PARTS), About("The steps, in order.", ("Read the passage aloud.",))
    ] = ()
    checklist: Annotated[
        tuple[str, ...],
        AtMost(MAX_PARTS),
        About(
            "The checklist by which adherence is checked after a session, in order.",
            ("The student read the passage twice.",),
        ),
    ] = ()
    entry_criteria: Annotated[
        str | None, Text(max=4000), About("The students that it is meant for.", "Accurate and slow readers.")
    ] = None
    exit_criteria: Annotated[
        str | None,
        Text(max=4000),
        About("The criterion by which it has achieved its purpose.", "At the benchmark of two windows."),
    ] = None
    evidence_note: Annotated[
        str | None, Text(max=4000), About("What is known about its effects, and from where.", "Meta-analysis of 2004.")
    ] = None
    languages: Annotated[
        tuple[str, ...], AtMost(50), About("The languages in which it exists: BCP 47 tags.", ("en", "es"))
    ] = ()
