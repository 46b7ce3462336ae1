"""Provides SQL statements that lock a district for one purpose until the end of the transaction.

They lock a row that belongs to the district. An advisory lock would hold on only one node of a database cluster, so
processes that are connected to different nodes would not exclude each other.
"""

from enum import StrEnum

from sqlalchemy import Text, Uuid, bindparam, text

DISTRICT, NAME = bindparam("district", type_=Uuid), bindparam("name", type_=Text)


class DistrictLock(StrEnum):
    """The purposes for which a district is locked.

    At most one transaction of a district has the lock for a purpose at a time.
    """

    WRITE_SYNC = "write_sync"
    SCHOOL_BREAK = "school_break"
    TEAM_STUDENTS = "team_students"
    SCREENING = "screening"
    SIGNALS = "signals"
    PLAYBOOK = "playbook"


WAIT = """INSERT INTO district_lock (district_id, name) VALUES (:district, :name)
ON CONFLICT (district_id, name) DO UPDATE SET name = excluded.name"""
"""SQL that takes the lock, after waiting for any transaction that has the lock."""
WAIT_FOR_LOCK = text(WAIT).bindparams(DISTRICT, NAME)
TRY_LOCK = text(
    "SELECT name FROM district_lock WHERE district_id = :district AND name = :name FOR UPDATE SKIP LOCKED"
).bindparams(DISTRICT, NAME)
"""SQL that takes the lock without waiting and returns a row.

It returns no row if another transaction has the lock, or if the lock's row does not exist yet.
"""
FIRST_LOCK = text(
    """INSERT INTO district_lock (district_id, name) SELECT :district, :name
    WHERE NOT EXISTS (SELECT FROM district_lock AS l WHERE l.district_id = :district AND l.name = :name)
    ON CONFLICT DO NOTHING RETURNING name"""  # ON CONFLICT alone would wait for whoever has locked the row
).bindparams(DISTRICT, NAME)
"""SQL that creates the lock's row, takes the lock and returns the lock's name; returns nothing if the row exists."""
