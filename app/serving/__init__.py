"""Runs the server of the api: its connections and their limits, its processes and their replacement, and its
metrics.
"""
