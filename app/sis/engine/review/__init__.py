"""Reviews the staged rows of a run: contradictions, likely re-keys, and what the quarantine shows."""
