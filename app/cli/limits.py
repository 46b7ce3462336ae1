"""Sets the timeouts of the run-time roles in the database, beside those that a process asks for when it connects.

They hold where a session is not started by us: behind a pooler that drops what a client asks for at its start, and on
the nodes of Citus, whose sessions belong to the coordinator.
"""

import asyncpg

from app.core.db import connect, sqlalchemy_url
from app.core.timeouts import Timeouts
from app.settings import Settings


async def limit_roles(settings: Settings) -> bool:
    """Sets the timeouts of both roles in this database; returns False where the owner may not set a role's."""
    connection = await connect(settings.url_of("owner"), "owner")
    database = sqlalchemy_url(settings.url_of("owner")).database
    # The worker has one role for webhooks and syncs: the role has the longer limits of the two.
    limits: dict[str, Timeouts] = {"api": settings.timeouts, "worker": settings.sync_timeouts}
    try:
        for role, timeouts in limits.items():
            for name, value in timeouts.of_sessions().items():
                whose = f'ROLE "{settings.role_name(role)}" IN DATABASE "{database}"'
                await connection.execute(f"ALTER {whose} SET {name} = '{value}'")
    except asyncpg.InsufficientPrivilegeError:
        return False
    finally:
        await connection.close()
    return True
