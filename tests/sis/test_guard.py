"""Tests which plans exceed the guard's limits on changes, and must therefore wait for approval."""

import pytest

from app.sis.guard import GuardLimits, PlannedKind, ShrunkGroup, weigh


def _seen(known: int = 1000, fetched: int = 1000, changed: int = 0, removed: int = 0, refused: int = 0) -> PlannedKind:
    return PlannedKind("people", known, fetched > 0, fetched, changed, removed, refused)


def _reasons(
    seen: PlannedKind, *shrunk: ShrunkGroup, rekeyed: int = 0, people: int = 0, limits: GuardLimits | None = None
) -> list[str]:
    weighed = weigh([seen], shrunk, rekeyed, people, limits or GuardLimits())
    return [one.sentence for one in weighed if one.held]


def _held(seen: PlannedKind, *shrunk: ShrunkGroup, rekeyed: int = 0) -> bool:
    return bool(_reasons(seen, *shrunk, rekeyed=rekeyed, people=seen.known))


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
def test_shares_are_held_above_their_limit_and_their_floor(seen: PlannedKind, held: bool) -> None:
    """A plan is held if a share of its rows is above the limit and the number of these rows is above the minimum.

    A plan with exactly the limit or the minimum is not held.
    """
    assert _held(seen) is held


@pytest.mark.parametrize(("lost", "of", "held"), [(2, 4, False), (4, 4, False), (2, 5, False), (3, 5, True)])
def test_a_school_or_class_of_five_may_not_lose_over_half(lost: int, of: int, held: bool) -> None:
    """A school or class of at least five students may not lose over half of them."""
    for what in ("school", "class"):
        assert _held(_seen(), ShrunkGroup(what, lost, of)) is held


def test_people_under_new_ids_are_held_above_two_in_a_hundred() -> None:
    """A run that finds more than 2 in 100 people under new sourcedIds is held, as after an upgrade of the SIS."""
    assert not _held(_seen(), rekeyed=20)
    assert _held(_seen(), rekeyed=21)


def test_every_reason_is_named_with_its_numbers() -> None:
    """Each reason for holding a plan is one sentence with the number and the limit."""
    shrunk = (ShrunkGroup("class", 9, 10), ShrunkGroup("class", 6, 10))
    assert _reasons(_seen(removed=200, refused=100), *shrunk, rekeyed=30, people=1000) == [
        "200 of 1,000 people (20%) would be removed; the limit is 10%.",
        "100 of the 1,000 rows of people (10%) cannot be taken; the limit is 5%.",
        "2 classes would lose over 50% of the students, the worst 9 of 10.",
        "30 of 1,000 people would come back under another sourcedId.",
    ]


@pytest.mark.parametrize(
    ("removed", "expired", "held"),
    [(500, 500, False), (140, 90, False), (181, 90, False), (182, 90, True), (116, 91, False), (120, 0, True)],
)
def test_what_had_come_to_its_end_counts_as_no_removal(removed: int, expired: int, held: bool) -> None:
    """The removal of an enrollment or a class that had already ended does not count as a removal.

    The enrollment or class is not counted in the total either.
    """
    seen = PlannedKind("enrollments", 1000, True, 1000 - removed, 0, removed, 0, expired=expired)
    assert bool(_reasons(seen)) is held


@pytest.mark.parametrize(("silent", "held"), [(False, True), (True, False)])
def test_an_empty_collection_is_held_unless_nothing_need_come(silent: bool, held: bool) -> None:
    """A delivery that contains no row of a known kind is held, unless the source may leave this kind out."""
    seen = PlannedKind("enrollments", 10, True, 0, 0, 10, 0, may_be_silent=silent, expired=10)
    assert bool(_reasons(seen)) is held


@pytest.mark.parametrize(
    ("name", "value", "seen", "shrunk", "rekeyed", "held"),
    [
        ("removed", 0.2, _seen(removed=200), (), 0, False),
        ("removed", 0.2, _seen(removed=201), (), 0, True),
        ("removed_rows", 101, _seen(removed=101), (), 0, False),
        ("removed_rows", 100, _seen(removed=101), (), 0, True),
        ("changed", 0.8, _seen(changed=800), (), 0, False),
        ("changed", 0.8, _seen(changed=801), (), 0, True),
        ("changed_rows", 900, _seen(changed=900), (), 0, False),
        ("changed_rows", 900, _seen(changed=901), (), 0, True),
        ("refused", 0.1, _seen(refused=100), (), 0, False),
        ("refused", 0.1, _seen(refused=101), (), 0, True),
        ("refused_rows", 60, _seen(refused=60), (), 0, False),
        ("refused_rows", 60, _seen(refused=61), (), 0, True),
        ("lost", 0.8, _seen(), (ShrunkGroup("class", 8, 10),), 0, False),
        ("lost", 0.8, _seen(), (ShrunkGroup("class", 9, 10),), 0, True),
        ("lost_of", 11, _seen(), (ShrunkGroup("class", 10, 10),), 0, False),
        ("lost_of", 10, _seen(), (ShrunkGroup("class", 10, 10),), 0, True),
        ("rekeyed", 0.05, _seen(), (), 50, False),
        ("rekeyed", 0.05, _seen(), (), 51, True),
        ("rekeyed_people", 30, _seen(), (), 30, False),
        ("rekeyed_people", 30, _seen(), (), 31, True),
    ],
)
def test_each_limit_is_the_sources_own_to_set(
    name: str, value: float, seen: PlannedKind, shrunk: tuple[ShrunkGroup, ...], rekeyed: int, held: bool
) -> None:
    """A source can set each limit. A plan at the limit is applied, and a plan just above it is held."""
    limits = GuardLimits(**{name: value})  # type: ignore[arg-type]  # the name determines the type
    assert bool(_reasons(seen, *shrunk, rekeyed=rekeyed, people=1000, limits=limits)) is held


def test_the_report_has_what_was_weighed_against_each_limit() -> None:
    """The report has the numbers that were compared with each limit, even if no limit was exceeded."""
    weighed = weigh([_seen(removed=90, changed=3)], [ShrunkGroup("class", 2, 10)], 1, 1000, GuardLimits())
    results = [(one.rule, one.what, one.count, one.of, one.limit, one.rows, one.held) for one in weighed]
    assert results == [
        ("removed", "people", 90, 1000, 0.10, 25, False),
        ("changed", "people", 3, 1000, 0.75, 25, False),
        ("shrunk", "classes", 2, 10, 0.50, 4, False),
        ("rekeyed", "people", 1, 1000, 0.02, 5, False),
    ]
