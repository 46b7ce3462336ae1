"""Tests of the api's server: connections and processes."""
