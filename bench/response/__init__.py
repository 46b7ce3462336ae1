"""The benchmark of the decision rules on simulated scores of a school year. It is no evidence about real students."""
