"""The intervention library: what is done for students, for which areas and levels, and how it is checked."""
