"""Collects the tasks of one person from the records of other packages. Only this person can read them."""
