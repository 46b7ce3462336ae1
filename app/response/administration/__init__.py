"""Administration of judging: the rules in force and their changes, calibrations, and effects of breaks and measures."""
