"""The sync engine: stages, checks, plans, weighs and applies deliveries, with the same statements for all sources."""
