"""Generates the REST API from the declared resources: response models, parameters, selections, responses and routes."""
