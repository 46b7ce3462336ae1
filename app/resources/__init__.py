"""The resource engine: declarations of public resources, selections from them, and the one statement that reads
each.
"""
