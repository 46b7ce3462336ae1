"""The kinds of hypotheses that a district's teams use."""
