"""Declares the public shape of the playbook's versions, and the commands that change areas and levels."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from app.access.permission import Can
from app.access.work import Work
from app.events.catalogue import PLAYBOOK_PUBLISHED
from app.playbook.models import PlaybookVersion
from app.playbook.resource import AreaResource, LevelResource
from app.playbook.rules import Entry, entry_of
from app.playbook.structure import areas, levels
from app.resources.command import Body, Command
from app.resources.declare import Resource
from app.resources.fields import computed, field, stored
from app.resources.listing import Listing
from app.resources.members import Id
from app.resources.values import Figures, Value, item


class VersionAreaValue(Value):
    """An area as it was in a version of the playbook."""

    id: Id = item("The id.", "are_01jq4n6d9zf3vbs0x5k2m7e8ta", kind="area")
    code: str = item("The code.", "ela.fluency")
    name: str = item("The name at that time.", "Reading fluency")
    parent: str | None = item("The code of the area above it; null at the top.", "ela")
    secured: bool = item("Whether its records need a scope of their own.", False)


class VersionLevelValue(Value):
    """A level of support as it was in a version of the playbook."""

    id: Id = item("The id.", "lev_01jq4n6d9zf3vbs0x5k2m7e8ta", kind="level")
    rank: int = item("The rank at that time; 1 is core.", 2)
    name: str = item("The name at that time.", "Targeted")


class VersionRuleValue(Value):
    """A decision rule of a version of the playbook, with the series that it judges."""

    rule: str = item("The rule.", "monitor")
    parameters: Figures = item("The parameters that were stated; others have their defaults.", {"far_percent": 10})
    measure: str | None = item("The code of the measure; null for an area, or for all other series.", "orf")
    area: str | None = item("The code of the area; it applies to the areas below it too.", "ela")
    school: Id | None = item("The school; null for the whole district.", kind="org")


async def _rules_of(_: Work, keys: Sequence[tuple[dict[str, Any]]]) -> list[list[Entry]]:
    """Returns the rules of each version. Requires no permission, because it reads no row."""
    return [[entry_of(key, chosen) for key, chosen in rules.items()] for (rules,) in keys]


class PlaybookVersionResource(
    Resource[PlaybookVersion],
    kind="playbook",
    requires=Can.READ_PLAYBOOK,
    name="PlaybookVersion",
    get="playbook_version",
):
    """A published version of the playbook. It never changes.

    Each verdict, support and decision states the version that applied to it.
    """

    number: int = field(PlaybookVersion.number, "Its number; each change publishes the next one.", 3)
    published_at: datetime = field(PlaybookVersion.published_at, "When it was published.")
    areas: list[VersionAreaValue] = stored(PlaybookVersion.areas, "The areas that were in force, in order.")
    agenda_order: list[str] = field(
        PlaybookVersion.agenda_order,
        "The kinds of agenda items in their order; empty for the default order.",
        ["unserved", "new_concern"],
    )
    levels: list[VersionLevelValue] = stored(PlaybookVersion.levels, "The levels that were in force, by rank.")
    rules: list[VersionRuleValue] = computed(_rules_of, (PlaybookVersion.rules,), "Its decision rules.")
    reminders: Figures = stored(
        PlaybookVersion.reminders, "The days of instruction after which reminders were due, where they were set."
    )


LISTINGS = (
    Listing(
        "playbook_versions",
        PlaybookVersionResource,
        "The versions of the playbook, oldest first. The last one is in force.",
        changed_at=PlaybookVersion.published_at,
    ),
)

NEXT_VERSION = "It takes effect with the next version of the playbook; earlier versions do not change."
COMMANDS = (
    Command(
        "add_area",
        areas.add_area,
        AreaResource,
        "Adds an area at the end of the order.",
        "POST /areas",
        emits=(PLAYBOOK_PUBLISHED,),
        status=201,
        more=f"Its code names the area above it: `ela.fluency` lies below `ela`. {NEXT_VERSION}",
    ),
    Command(
        "rename_area",
        areas.rename_area,
        AreaResource,
        "Renames an area. Its code stays the same.",
        "POST /areas/{area}/rename",
        emits=(PLAYBOOK_PUBLISHED,),
        body=Body("AreaName", "The new name of an area."),
        more=NEXT_VERSION,
    ),
    Command(
        "order_areas",
        areas.order_areas,
        None,
        "Puts the areas in order. Areas that are not given follow in their present order.",
        "POST /areas/order",
        emits=(PLAYBOOK_PUBLISHED,),
        status=204,
        body=Body("AreaOrder", "Areas in their new order."),
    ),
    Command(
        "retire_area",
        areas.retire_area,
        AreaResource,
        "Retires an area without areas in force below it: nothing new may use it. What is in it stays, and "
        "is judged as before.",
        "POST /areas/{area}/retire",
        emits=(PLAYBOOK_PUBLISHED,),
        more=f"Areas below it are retired first. {NEXT_VERSION}",
    ),
    Command(
        "restore_area",
        areas.restore_area,
        AreaResource,
        "Brings a retired area back into force, unless the area above it is retired.",
        "POST /areas/{area}/restore",
        emits=(PLAYBOOK_PUBLISHED,),
    ),
    Command(
        "add_level",
        levels.add_level,
        LevelResource,
        "Adds a level of support. If its rank is taken, the levels of this rank and above move up by one.",
        "POST /levels",
        emits=(PLAYBOOK_PUBLISHED,),
        status=201,
        more=NEXT_VERSION,
    ),
    Command(
        "rename_level",
        levels.rename_level,
        LevelResource,
        "Renames a level of support.",
        "POST /levels/{level}/rename",
        emits=(PLAYBOOK_PUBLISHED,),
        body=Body("LevelName", "The new name of a level."),
        more=NEXT_VERSION,
    ),
    Command(
        "order_levels",
        levels.order_levels,
        None,
        "Orders the levels in force: they get ranks from 1 in this order. Levels that are not given follow in their "
        "present order.",
        "POST /levels/order",
        emits=(PLAYBOOK_PUBLISHED,),
        status=204,
        body=Body("LevelOrder", "Levels in their new order, the lowest first."),
    ),
    Command(
        "retire_level",
        levels.retire_level,
        LevelResource,
        "Retires a level of support, but not the only one in force: nothing new may use it. Supports that "
        "have it keep it.",
        "POST /levels/{level}/retire",
        emits=(PLAYBOOK_PUBLISHED,),
        more=NEXT_VERSION,
    ),
    Command(
        "restore_level",
        levels.restore_level,
        LevelResource,
        "Brings a retired level back into force, above the highest level if its rank is taken.",
        "POST /levels/{level}/restore",
        emits=(PLAYBOOK_PUBLISHED,),
    ),
)
