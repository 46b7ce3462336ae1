"""Brings what a source delivered into the stage: loads, screens, converts."""
