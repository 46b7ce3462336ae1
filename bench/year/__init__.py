"""Plays a school year of one grade team over public HTTP, and checks the answers of the product."""
