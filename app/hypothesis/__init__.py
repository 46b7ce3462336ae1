"""Hypotheses about why a concern is there, and the supports that test them."""
