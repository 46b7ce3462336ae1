"""OneRoster as CSV files in a zip: the adapter."""
