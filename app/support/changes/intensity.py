"""Defines how a phase of a support can differ from the previous phase: in level, dose, group or intervention."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol


class PhaseVerb(StrEnum):
    """What a team decided when a phase began."""

    PLAN = "plan"
    CHANGE = "change"
    INTENSIFY = "intensify"
    FADE = "fade"
    RAISE_GOAL = "raise_goal"
    RESTORE_FIDELITY = "restore_fidelity"


class PhaseChange(StrEnum):
    """A difference between a phase and the previous phase."""

    HIGHER_LEVEL = "higher_level"
    LOWER_LEVEL = "lower_level"
    MORE_SESSIONS = "more_sessions"
    FEWER_SESSIONS = "fewer_sessions"
    LONGER_SESSIONS = "longer_sessions"
    SHORTER_SESSIONS = "shorter_sessions"
    SMALLER_GROUP = "smaller_group"
    LARGER_GROUP = "larger_group"
    STRONGER_PROGRAMME = "stronger_programme"
    OTHER_INTERVENTION = "other_intervention"
    OTHER_GOAL = "other_goal"


DOSE = frozenset(
    {
        PhaseChange.MORE_SESSIONS,
        PhaseChange.FEWER_SESSIONS,
        PhaseChange.LONGER_SESSIONS,
        PhaseChange.SHORTER_SESSIONS,
    }
)


@dataclass(frozen=True, slots=True)
class Intensity:
    """How intensive a phase is: the rank of its level of support, planned dose, group size, and intervention.

    The dose is the number of sessions a week and the minutes of each.
    """

    level: int
    minutes_per_session: int
    sessions_per_week: int
    group_size: int | None
    intervention: str

    @property
    def weekly_minutes(self) -> int:
        """Returns the planned minutes of a week."""
        return self.minutes_per_session * self.sessions_per_week


class IntensityChange(Protocol):
    """The new values of a phase's intensity. An attribute that is None keeps its previous value."""

    @property
    def level(self) -> int | None: ...
    @property
    def minutes_per_session(self) -> int | None: ...
    @property
    def sessions_per_week(self) -> int | None: ...
    @property
    def group_size(self) -> int | None: ...
    @property
    def intervention(self) -> str | None: ...


def changed(before: Intensity, change: IntensityChange) -> Intensity:
    """Returns the intensity after a change."""
    values = {name: getattr(change, name) for name in Intensity.__slots__}
    return replace(before, **{name: value for name, value in values.items() if value is not None})


def changes_between(before: Intensity, after: Intensity, verb: PhaseVerb) -> list[PhaseChange]:
    """Returns the differences between a phase and the previous one, in the order of `PhaseChange`.

    `verb` is the decision of the team. It determines two differences that do not follow from the values alone:

    * If the team intensifies the support, another intervention counts as a stronger programme.
    * If only the previous group size is unknown, the group counts as smaller if the team intensifies the support, and
      as larger if the team fades it.
    """
    size = before.group_size
    if size is None and after.group_size is not None:
        size = after.group_size + {PhaseVerb.INTENSIFY: 1, PhaseVerb.FADE: -1}.get(verb, 0)
    is_other = before.intervention != after.intervention
    is_stronger = is_other and verb is PhaseVerb.INTENSIFY
    facts = {
        PhaseChange.HIGHER_LEVEL: after.level > before.level,
        PhaseChange.LOWER_LEVEL: after.level < before.level,
        PhaseChange.MORE_SESSIONS: after.sessions_per_week > before.sessions_per_week,
        PhaseChange.FEWER_SESSIONS: after.sessions_per_week < before.sessions_per_week,
        PhaseChange.LONGER_SESSIONS: after.minutes_per_session > before.minutes_per_session,
        PhaseChange.SHORTER_SESSIONS: after.minutes_per_session < before.minutes_per_session,
        PhaseChange.SMALLER_GROUP: size is not None and (after.group_size or size) < size,
        PhaseChange.LARGER_GROUP: size is not None and (after.group_size or size) > size,
        PhaseChange.STRONGER_PROGRAMME: is_stronger,
        PhaseChange.OTHER_INTERVENTION: is_other and not is_stronger,
    }
    return [code for code, is_true in facts.items() if is_true]


def is_intensified(before: Intensity, after: Intensity) -> bool:
    """Returns whether a phase is more intensive than the previous phase.

    More sessions or longer sessions count only if the weekly minutes do not decrease.
    """
    codes = set(changes_between(before, after, PhaseVerb.INTENSIFY))
    more_dose = {PhaseChange.MORE_SESSIONS, PhaseChange.LONGER_SESSIONS}
    others = {PhaseChange.HIGHER_LEVEL, PhaseChange.SMALLER_GROUP, PhaseChange.STRONGER_PROGRAMME}
    return bool(codes & others) or (bool(codes & more_dose) and after.weekly_minutes >= before.weekly_minutes)


def is_faded(before: Intensity, after: Intensity) -> bool:
    """Returns whether a phase is less intensive than the previous phase."""
    codes = set(changes_between(before, after, PhaseVerb.FADE))
    return bool(codes & {PhaseChange.LOWER_LEVEL, PhaseChange.LARGER_GROUP}) or (
        bool(codes & DOSE) and after.weekly_minutes < before.weekly_minutes
    )
