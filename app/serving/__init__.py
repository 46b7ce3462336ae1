"""Runs the server of the api: limits its connections, replaces its processes, and serves its metrics."""
