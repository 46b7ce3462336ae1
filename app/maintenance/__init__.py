"""Runs a worker's recurring tasks in every district: reminders, and deleting what has expired."""
