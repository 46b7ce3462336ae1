"""The GraphQL API, with one file per type; it only translates requests and answers."""
