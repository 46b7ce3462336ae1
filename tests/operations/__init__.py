"""Tests of what an operator does with a whole installation: backup, restore, deployment."""
