"""Defines bind parameters for the district and the caller of a request.

The conditions that resources declare can contain these parameters.
"""

from typing import Any

from sqlalchemy import ARRAY, BindParameter, Text, Uuid, bindparam

DISTRICT: BindParameter[Any] = bindparam("district", type_=Uuid(), required=False)
"""The district of the request. A subquery in a declaration compares its own table's `district_id` with it."""
CLIENT: BindParameter[Any] = bindparam("client", type_=Uuid(), required=False)
"""The id of the calling client, or null."""
PERSON: BindParameter[Any] = bindparam("person", type_=Uuid(), required=False)
"""The id of the person that the request acts for, or null."""
REACH: BindParameter[Any] = bindparam("reach", type_=Text(), required=False)
"""Which students the caller may see, as a value of `Reach`: all, those of some schools, or a caseload."""
SCHOOLS: BindParameter[Any] = bindparam("schools", type_=ARRAY(Uuid()), required=False)
"""The schools of a caller who may see the students of some schools only."""
STUDENTS: BindParameter[Any] = bindparam("students", type_=ARRAY(Uuid()), required=False)
"""The ids of the students whom the caller may see individually, not because of a school.

For the reach `caseload`, these are the students on the caseload. For the reach `schools`, these are the students of
other schools whom the caller may see as a member of a team.
"""
OPENS: BindParameter[Any] = bindparam("opens", type_=ARRAY(Text()), required=False)
"""The codes of the secured areas that the caller may access."""
