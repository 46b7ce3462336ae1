"""Generates the REST API from the declared resources: response models, parameters, selections, answers and routes."""
