"""The field's rules, each by its published definition. The monitor is not among them, because it is this project's own
rule.
"""
