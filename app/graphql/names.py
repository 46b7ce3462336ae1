"""Defines the words for the names of roster rows: ids and external ids."""

NAME = "an id, or an external id `sis:<source>:<sourcedId>`"
