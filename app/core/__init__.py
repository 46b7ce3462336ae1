"""What knows nothing of schools: the database, ids, pages, errors, time, keys."""
