"""Tests that each command records the events that it declares, and no others."""

from collections.abc import Iterable
from dataclasses import replace

import asyncpg
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalog import CATALOG
from app.resources.command import Command
from app.settings import Settings
from tests.faces.rest_town import caller
from tests.house.full_district import fill_district
from tests.house.walk import command_turn, operations, own_request
from tests.town import found_town

DECIDED = {"support.changed", "support.ended"}
"""Events of a decision that changes or ends a support; the walk's decision lets it continue."""
OF_A_JUDGEMENT = ("response.", "probe.")
"""How the types of events begin that depend on the scores."""
RECORDED = "SELECT type FROM event WHERE district_id = $1 AND seq > $2"
LAST = "SELECT coalesce(max(seq), 0) FROM event WHERE district_id = $1"


def findings(command: Command, recorded: Iterable[str]) -> list[str]:
    """Returns the differences between the recorded events and those that the command declares.

    Some declared events are not recorded by every call, so they may be absent. They are the events of a judgement, of a
    decision, of a student who joins a group later, of the end of a support in a group, and of an amended note.
    """
    events, declared = set(recorded), {type_.name for type_ in command.emits}
    certain = {name for name in declared if not name.startswith(OF_A_JUDGEMENT)}
    certain -= DECIDED if command.name == "decide" else set()
    certain -= {"support.started"} if command.name == "join_group" else set()
    certain -= {"group.changed"} if command.name == "end_support" else set()
    certain -= {"agenda_note.amended"} if command.name == "amend_note" else set()
    return [f"{command.name} records {name} and does not declare it" for name in sorted(events - declared)] + [
        f"{command.name} declares {name} and does not record it" for name in sorted(certain - events)
    ]


async def test_every_command_records_the_events_that_it_declares(
    app: FastAPI, engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings, owner: asyncpg.Connection
) -> None:
    """Each command is carried out once, and records exactly the events that its contract names."""
    district = await fill_district(await found_town("north", engine, worker_engine, settings))
    north, differences, walked = caller(app, district.town), [], set()
    commands = [one for one in operations(app) if one.name in CATALOG.commands]
    for operation in sorted(commands, key=command_turn):
        last = await owner.fetchval(LAST, district.town.district_id)
        request = own_request(operation, district)
        answer = await north.ask(operation.method, request.path, **request.body)
        assert answer.status_code < 300, (str(request), answer.text)
        rows = await owner.fetch(RECORDED, district.town.district_id, last)
        differences += findings(CATALOG.commands[operation.name], [row["type"] for row in rows])
        walked.add(operation.name)
    assert differences == []
    assert walked == CATALOG.commands.keys()


def test_a_command_with_other_events_is_found() -> None:
    """`findings` reports each recorded event that the command does not declare.

    It also reports each declared event that was not recorded.
    """
    accept, resolve = CATALOG.commands["accept_concern"], CATALOG.commands["resolve_concern"]
    assert findings(accept, ["concern.accepted"]) == []
    assert findings(replace(accept, emits=()), ["concern.accepted"])
    assert findings(replace(accept, emits=(*accept.emits, *resolve.emits)), ["concern.accepted"])
    assert findings(CATALOG.commands["record_scores"], []) == []
    assert findings(CATALOG.commands["record_scores"], ["support.ended"])
