"""The GraphQL face: one file a type. Holds shapes, no rule."""
