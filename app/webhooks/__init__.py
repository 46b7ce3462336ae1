"""Webhooks: endpoints, deliveries and attempts that send signed events to other systems."""
