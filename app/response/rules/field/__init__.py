"""The decision rules that schools use, each by its published definition.

The monitor is this project's own rule and has its own package.
"""
