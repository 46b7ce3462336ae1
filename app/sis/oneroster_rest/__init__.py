"""OneRoster over REST, 1.1 and 1.2: pages become CSV for the port. Holds no SQL and no policy."""
