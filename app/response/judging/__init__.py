"""How series come to their verdicts: read, judged with their cohort, written, and settled when the week is in."""
