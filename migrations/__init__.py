"""The schema's migrations, which expand, migrate and contract it step by step."""
