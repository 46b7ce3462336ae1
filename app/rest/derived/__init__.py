"""Derives REST from the declared resources: response models, parameters, selections, answers and routes."""
