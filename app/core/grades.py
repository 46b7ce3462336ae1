"""Defines the standard codes (CEDS) of grades for sources that send the name of a grade instead of a code. Pure.

For example, the name `first grade` has the code `01`. The sync itself normalizes the spelling of codes, such as `1` for
`01`.
"""

from typing import Final

_ORDINALS: Final = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"),
    *("eleventh", "twelfth", "thirteenth"),
)
_SUFFIXES: Final = {1: "st", 2: "nd", 3: "rd"}
_NUMBERED: Final = {
    name: f"{number:02}"
    for number, ordinal in enumerate(_ORDINALS, 1)
    for name in (ordinal, f"{number}{_SUFFIXES.get(number, 'th')}")
}
GRADE_CODES: Final = {
    **_NUMBERED,
    **{f"{name} grade": code for name, code in _NUMBERED.items()},
    **{f"grade {number}": f"{number:02}" for number in range(1, 14)},
    **dict.fromkeys(("preschool/prekindergarten", "prekindergarten", "pre-kindergarten", "pre-k", "prek"), "PK"),
    **{"infant/toddler": "IT", "preschool": "PR", "kindergarten": "KG", "transitional kindergarten": "TK"},
    **{"postsecondary": "PS", "ungraded": "UG"},
}
"""The CEDS codes of grades, keyed by their names in lower case."""
