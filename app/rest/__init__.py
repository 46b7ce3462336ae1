"""The REST API, with one file per resource. It only translates requests and responses."""
