"""The adapter for OneRoster CSV files in a zip."""
