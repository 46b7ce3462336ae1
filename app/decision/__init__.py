"""What the team decided, on what evidence, by which rule."""
