"""Stages the deliveries of a source: screens, loads and converts them."""
