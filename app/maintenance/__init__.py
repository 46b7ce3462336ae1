"""What a worker does in every district by itself, again and again: reminders, and the end of what has expired."""
