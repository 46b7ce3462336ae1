"""Runs the api's server: connections and their limits, processes and their replacement, and the api's own metrics."""
