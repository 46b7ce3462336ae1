"""Provides the text that describes arguments which identify a person, class or school."""

NAME = "an id, or an external id `sis:<source>:<sourcedId>`"
