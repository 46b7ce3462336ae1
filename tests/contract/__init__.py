"""Tests the API contracts with external programs: an audit of GraphQL over HTTP, and three generators of client
code.
"""
