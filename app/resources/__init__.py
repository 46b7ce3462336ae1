"""The resource engine. It has the declarations of public resources, the selections of their fields, and the single
statement that reads a selection.
"""
