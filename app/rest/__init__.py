"""The REST face: one file a resource. Holds shapes and HTTP, no rule."""
