"""Contains the field's rules, each by its published definition. The monitor, which is our own rule, is not among
them.
"""
