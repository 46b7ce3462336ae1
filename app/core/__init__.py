"""What every room stands on: database, errors, ids, pages, clock, keys. Knows nothing of schools."""
