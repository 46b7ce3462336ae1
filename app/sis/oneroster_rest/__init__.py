"""The adapter for OneRoster over REST, 1.1 and 1.2: it converts pages to CSV. Contains no SQL and no policy."""
