"""Notes on records about students, such as concerns and supports."""
