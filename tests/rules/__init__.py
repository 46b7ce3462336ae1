"""Tests of rules and calculations that need no database."""
