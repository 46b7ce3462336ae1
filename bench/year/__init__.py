"""Simulates a school year of one grade's team over public HTTP, and checks the answers of the product."""
