"""The REST API, with one file per resource. It contains shapes and HTTP, and no rules."""
