"""The schema's migrations, which expand and later contract it step by step."""
