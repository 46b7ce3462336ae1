"""Contains the recurring tasks about supports: starts, reminders, and what follows from changes of the roster."""
