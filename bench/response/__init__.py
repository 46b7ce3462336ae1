"""The benchmark of the decision rules on a simulated school year. It is no evidence about children."""
