"""The engine that reads public resources: their declarations, selections of their fields, and the compiler to SQL.

Every selection is read with one SQL statement.
"""
