"""What holds for judging: the rules in force and how they are changed, and what was calibrated."""
