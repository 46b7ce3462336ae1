"""Provides the descriptions for arguments that identify roster rows by an id or an external id."""

NAME = "an id, or an external id `sis:<source>:<sourcedId>`"
