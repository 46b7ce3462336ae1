"""Plays a school year of one grade team over public HTTP, and checks what the product said about it."""
