"""Contains handovers, the recurring tasks about supports, and the effects of roster changes on supports."""
