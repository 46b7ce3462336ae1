"""The benchmark of the decision rules: a simulated school year, seeded. It is no evidence about children."""
