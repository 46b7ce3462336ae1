"""Defines the bind parameters that the conditions of declarations may use."""

from sqlalchemy import Uuid, bindparam

DISTRICT = bindparam("district", type_=Uuid(), required=False)
"""The district of the request. A subquery in a declaration compares its own table's `district_id` with it."""
