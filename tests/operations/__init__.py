"""What an operator does to a whole installation: backup, restore, deployment."""
