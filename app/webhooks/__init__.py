"""Sends signed events to other systems, and manages their endpoints, the deliveries and the attempts."""
