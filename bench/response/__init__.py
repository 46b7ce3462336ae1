"""The benchmark of the response rules: a simulated school year, seeded. It is no evidence about children."""
