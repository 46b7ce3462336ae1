"""Reads OneRoster over REST, 1.1 and 1.2, and converts its pages to CSV. Contains no SQL and no policy."""
