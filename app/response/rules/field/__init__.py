"""The decision rules that are in use in schools, each by its published definition.

The monitor is not among them, because it is this project's own rule.
"""
