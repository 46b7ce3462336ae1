"""Tests an operator's work on a whole installation: backup, restore, deployment."""
