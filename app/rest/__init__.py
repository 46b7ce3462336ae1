"""The REST face: one file for each resource. It holds shapes and HTTP, and no rules."""
