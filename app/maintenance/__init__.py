"""Runs the worker's recurring tasks in every district, which send reminders and delete what has expired."""
