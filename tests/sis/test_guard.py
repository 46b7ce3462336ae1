"""The guard: which plans are held, by the numbers alone."""

import pytest

from app.sis.guard import Limits, Seen, Shrunk, hold_because


def _seen(known: int = 1000, fetched: int = 1000, changed: int = 0, removed: int = 0, refused: int = 0) -> Seen:
    return Seen("people", known, fetched > 0, fetched, changed, removed, refused)


def _held(seen: Seen, *shrunk: Shrunk, rekeyed: int = 0) -> bool:
    return bool(hold_because([seen], shrunk, rekeyed, seen.known, Limits()))


@pytest.mark.parametrize(
    ("seen", "held"),
    [
        (_seen(), False),
        (_seen(known=0, fetched=5), False),
        (_seen(known=0, fetched=0), False),
        (_seen(known=3, fetched=0), True),
        (_seen(removed=100), False),
        (_seen(removed=101), True),
        (_seen(known=100, removed=25), False),
        (_seen(known=100, removed=26), True),
        (_seen(changed=750), False),
        (_seen(changed=751), True),
        (_seen(known=2, fetched=2, changed=2), False),
        (_seen(refused=50), False),
        (_seen(refused=51), True),
        (_seen(known=0, fetched=10, refused=5), False),
        (_seen(known=0, fetched=10, refused=6), True),
    ],
)
def test_shares_are_held_above_their_limit_and_their_floor(seen: Seen, held: bool) -> None:
    """The limit itself still passes; a first load and a small district are not held for one row."""
    assert _held(seen) is held


@pytest.mark.parametrize(("lost", "of", "held"), [(2, 4, False), (4, 4, False), (2, 5, False), (3, 5, True)])
def test_a_school_or_class_of_five_may_not_lose_over_half(lost: int, of: int, held: bool) -> None:
    """Smaller ones come and go."""
    for what in ("school", "class"):
        assert _held(_seen(), Shrunk(what, lost, of)) is held


def test_people_under_new_ids_are_held_above_two_in_a_hundred() -> None:
    """An SIS that is upgraded may give everyone another sourcedId."""
    assert not _held(_seen(), rekeyed=20)
    assert _held(_seen(), rekeyed=21)


def test_every_reason_is_named_with_its_numbers() -> None:
    """One sentence each, with what would happen and what the limit is."""
    reasons = hold_because(
        [_seen(removed=200, refused=100)], [Shrunk("class", 9, 10), Shrunk("class", 6, 10)], 30, 1000, Limits()
    )
    assert reasons == (
        "200 of 1,000 people (20%) would be removed; the limit is 10%.",
        "100 of the 1,000 rows of people (10%) cannot be taken; the limit is 5%.",
        "2 classes would lose over 50% of the students, the worst 9 of 10.",
        "30 of 1,000 people would come back under another sourcedId.",
    )
