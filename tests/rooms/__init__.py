"""Tests of each room on PostgreSQL, as role `api`."""
