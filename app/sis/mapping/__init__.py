"""The mapping of a source's results to scores, and the update of these scores after each sync."""
