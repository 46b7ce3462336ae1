"""Domain events: the catalogue of event types, the outbox, and the change feed."""
