"""Completes the OpenAPI document that FastAPI generates from the routes, by rules that apply to every route alike."""
