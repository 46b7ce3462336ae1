"""Endpoints, deliveries, attempts: what happened, told to other machines, signed."""
