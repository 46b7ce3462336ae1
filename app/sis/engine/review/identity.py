"""Decides whether a sourcedId that used to belong to one person now belongs to another. Does no input or output.

Families rename children, clerks correct dates, and siblings and twins have much in common. So one changed field, or a
changed name alone, never means another person. Both names must change, and so must the birth date or the identifier.
"""

import unicodedata
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Identity:
    """The fields by which people are distinguished. An empty or missing value is unknown and decides nothing."""

    given_name: str = ""
    family_name: str = ""
    birth_date: date | None = None
    identifier: str = ""
    email: str = ""
    username: str = ""


def normalize_name(name: str) -> str:
    """Returns a name in lower case, without accents, punctuation and double blanks, to compare spellings."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    return " ".join("".join(c if c.isalnum() else " " for c in letters).split())


def is_other_name(before: str, after: str) -> bool:
    """Returns whether the two names are different, and not only spelled differently.

    A part of a longer name counts as the same name, and so does a name that is not known.
    """
    one, other = set(normalize_name(before).split()), set(normalize_name(after).split())
    return bool(one and other) and not (one <= other or other <= one)


def is_other_person(before: Identity, after: Identity) -> bool:
    """Returns whether the two identities belong to different people.

    They do if the given name and the family name have changed, and also the birth date or the identifier. A given name
    and a family name that were only exchanged have not changed.

    A field can be compared if it is known both before and after. If neither the birth date nor the identifier can be
    compared, e-mail and username decide: at least one of these two must be comparable, and each comparable one must
    have changed.
    """
    if not (
        is_other_name(before.given_name, after.given_name) and is_other_name(before.family_name, after.family_name)
    ):
        return False
    whole = (f"{identity.given_name} {identity.family_name}" for identity in (before, after))
    if not is_other_name(*whole):
        return False  # the given and the family name were exchanged
    strong = _differences(before, after, ("birth_date", "identifier"))
    if strong:
        return any(strong)
    return all(weak := _differences(before, after, ("email", "username"))) and bool(weak)


def is_same_person(stored: Identity, delivered: Identity) -> bool:
    """Returns whether a delivered row has both names of a stored person, and the same birth date or identifier.

    A field can be compared if it is known both in the row and for the person. If neither the birth date nor the
    identifier can be compared, the names alone decide.
    """
    names = ((getattr(each, name) for each in (stored, delivered)) for name in ("given_name", "family_name"))
    for one, other in names:
        if not normalize_name(one) or normalize_name(one) != normalize_name(other):
            return False
    strong = _differences(stored, delivered, ("birth_date", "identifier"))
    return not strong or not all(strong)


def count_changes(before: Identity, after: Identity) -> int:
    """Returns how many of four fields are known both before and after, and differ.

    The fields are the given name, the family name, the birth date and the identifier.
    """
    names = (normalize_name(before.given_name), normalize_name(after.given_name))
    families = (normalize_name(before.family_name), normalize_name(after.family_name))
    changed = sum(bool(one and other and one != other) for one, other in (names, families))
    return changed + sum(_differences(before, after, ("birth_date", "identifier")))


def _differences(before: Identity, after: Identity, fields: tuple[str, ...]) -> list[bool]:
    """Returns whether each of the `fields` differs. A field that is unknown before or after is left out."""
    pairs = [(getattr(before, name), getattr(after, name)) for name in fields]
    return [_plain(one) != _plain(other) for one, other in pairs if _plain(one) and _plain(other)]


def _plain(value: str | date | None) -> str | date | None:
    return value.strip().casefold() if isinstance(value, str) else value
