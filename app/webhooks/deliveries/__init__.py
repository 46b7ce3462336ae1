"""What was sent: sent again, and in the end kept no longer."""
