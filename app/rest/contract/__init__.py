"""Completes the OpenAPI document that FastAPI derives from the routes, by rules that apply to every route alike."""
