"""Validates which parts of an intervention's checklist a session reports as done. Does not use the database."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

from app.core.errors import Invalid, Violation
from app.core.inputs import About, AtMost
from app.intervention.rules import MAX_PARTS

DoneParts = Annotated[
    tuple[int, ...] | None,
    AtMost(MAX_PARTS),
    About(
        "The numbers, from 1, of the parts that were done of the checklist of the library's entry; null if nobody "
        "checked. An empty list says that none was done.",
        (1, 2, 4),
    ),
]
"""The type of the input with which a session reports the parts of the checklist that were done."""
CHECKED: Final = ("done_parts", "checklist_size")
"""The columns of a session that store the parts that were done and the number of all parts."""


def marks_of(done_parts: Sequence[int], checklist_size: int, at: str) -> dict[str, Any]:
    """Validates the checklist parts that a session reports as done, and returns them as columns of the session.

    * `done_parts` has the numbers of these parts. The first part of the checklist has the number 1.
    * `checklist_size` is the number of parts of the checklist. It is 0 if the support follows no entry of the library,
      or an entry without a checklist. In this case every done part is refused.
    * `at` is the JSON Pointer of the session.

    Raises `Invalid`.
    """
    if not checklist_size:
        detail = "The support followed no entry of the library with a checklist on this day."
        raise Invalid([Violation(f"{at}/done_parts", "session.no_checklist", detail)])
    detail = f"Parts of this checklist have the numbers from 1 to {checklist_size}, each once."
    violations = [
        Violation(f"{at}/done_parts/{place}", "session.checklist_part", detail)
        for place, part in enumerate(done_parts)
        if not 1 <= part <= checklist_size or part in done_parts[:place]
    ]
    if violations:
        raise Invalid(violations)
    return {"done_parts": sorted(done_parts), "checklist_size": checklist_size}
