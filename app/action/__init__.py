"""Action items: who does what by when, as a team agreed it."""
