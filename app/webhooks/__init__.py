"""Sends signed events to other systems: endpoints, deliveries and attempts."""
