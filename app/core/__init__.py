"""Shared infrastructure without any knowledge of schools: database, ids, pages, errors, time and keys."""
