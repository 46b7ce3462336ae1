"""Creates districts, for `aimline district create` and for the sandbox."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.principal import system_principal
from app.access.service import register_district
from app.access.work import unit
from app.core.crypto import Keyring
from app.core.ids import new_id
from app.events.service import open_counter
from app.playbook.service import open_playbook


async def open_district(
    engine: AsyncEngine, keyring: Keyring, slug: str, name: str, time_zone: str, *, is_sandbox: bool = False
) -> UUID:
    """Creates a district with its event counter and the default playbook, in one transaction, and returns its id.

    A sandbox district also has a test clock.
    """
    district_id = new_id()
    operator = system_principal(district_id, "operator")
    async with unit(engine, operator, keyring, "district create") as work:
        await register_district(work, slug, name, time_zone, is_sandbox=is_sandbox)
        await open_counter(work)
        await open_playbook(work)
    return district_id
