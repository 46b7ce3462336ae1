"""Defines the tables of the first revision as they were then; like every revision, they are frozen."""
