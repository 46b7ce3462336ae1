"""The rules of the field, each from its published definition. Never the monitor, which is our own."""
