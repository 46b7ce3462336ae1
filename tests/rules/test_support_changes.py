"""Tests how a phase is compared with the one before: what changed, and whether it is more or less intensive."""

from dataclasses import replace

import pytest

from app.support.changes.intensity import Intensity, PhaseChange, PhaseVerb, changes_between, is_faded, is_intensified

BEFORE = Intensity(level=2, minutes_per_session=30, sessions_per_week=3, group_size=4, intervention="Reading")


@pytest.mark.parametrize(
    ("after", "codes"),
    [
        ({"level": 3}, {"higher_level"}),
        ({"sessions_per_week": 5}, {"more_sessions"}),
        ({"minutes_per_session": 40}, {"longer_sessions"}),
        ({"group_size": 2}, {"smaller_group"}),
        ({"intervention": "Phonics"}, {"stronger_programme"}),
        ({"sessions_per_week": 4, "minutes_per_session": 25}, {"more_sessions", "shorter_sessions"}),
    ],
)
def test_each_way_to_intensify_has_a_name(after: dict[str, object], codes: set[str]) -> None:
    """Each way to intensify a support has a code in its history: level, dose, group and intervention."""
    changed = replace(BEFORE, **after)  # type: ignore[arg-type]  # fields by name
    assert set(changes_between(BEFORE, changed, PhaseVerb.INTENSIFY)) == codes
    assert is_intensified(BEFORE, changed)


@pytest.mark.parametrize(
    "after",
    [
        {},
        {"level": 1},
        {"sessions_per_week": 2},
        {"group_size": 5},
        {"sessions_per_week": 4, "minutes_per_session": 20},
    ],
)
def test_less_or_the_same_is_no_intensification(after: dict[str, object]) -> None:
    """A phase with less support, or with the same, is not intensified.

    For example, more but much shorter sessions give fewer minutes a week.
    """
    assert not is_intensified(BEFORE, replace(BEFORE, **after))  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    "after", [{"level": 1}, {"sessions_per_week": 2}, {"minutes_per_session": 20}, {"group_size": 6}]
)
def test_each_way_to_fade_counts(after: dict[str, object]) -> None:
    """A support counts as less intensive (faded) after a lower level, fewer or shorter sessions, or a larger group."""
    assert is_faded(BEFORE, replace(BEFORE, **after))  # type: ignore[arg-type]  # fields by name
    assert not is_faded(BEFORE, BEFORE)
    assert not is_faded(BEFORE, replace(BEFORE, intervention="Phonics"))


def test_a_group_of_unknown_size_becomes_what_the_team_says() -> None:
    """If the earlier size of a group is unknown, the kind of the change decides whether the group became smaller.

    If the support was intensified, its group is listed as smaller; if faded, as larger; if changed, as neither.
    """
    of_unknown_size, of_three = replace(BEFORE, group_size=None), replace(BEFORE, group_size=3)
    assert changes_between(of_unknown_size, of_three, PhaseVerb.INTENSIFY) == [PhaseChange.SMALLER_GROUP]
    assert changes_between(of_unknown_size, of_three, PhaseVerb.FADE) == [PhaseChange.LARGER_GROUP]
    assert changes_between(of_unknown_size, of_three, PhaseVerb.CHANGE) == []
    assert changes_between(BEFORE, replace(BEFORE, intervention="Phonics"), PhaseVerb.CHANGE) == [
        PhaseChange.OTHER_INTERVENTION
    ]
