"""About which students, in which areas."""
