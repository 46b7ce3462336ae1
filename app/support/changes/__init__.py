"""Contains what distinguishes two phases of a support: its intensity, and the growth that its goal requires."""
