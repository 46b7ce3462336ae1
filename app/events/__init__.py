"""What happened: the catalogue of events, the outbox, the change feed."""
