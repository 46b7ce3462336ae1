"""Runs the worker's recurring tasks in every district. They send reminders and delete what has expired."""
