"""Tests each module of `app` on PostgreSQL, connected as role `api`."""
