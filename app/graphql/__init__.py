"""The GraphQL face: one file for each type. It holds shapes and no rules."""
