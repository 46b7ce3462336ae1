"""The GraphQL API, with one file per type. It contains shapes and no rules."""
