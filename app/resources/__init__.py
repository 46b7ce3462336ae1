"""The engine that reads public resources.

It consists of the declarations of the resources, the selections of their fields, and the compiler that turns a
selection into SQL. Every selection is read with one SQL statement.
"""
