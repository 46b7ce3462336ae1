"""Owns the bind parameters that conditions of declarations may name."""

from sqlalchemy import Uuid, bindparam

DISTRICT = bindparam("district", type_=Uuid(), required=False)
"""The district of the request. A subquery in a declaration compares its own table's `district_id` with it."""
