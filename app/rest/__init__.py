"""The REST API, with one file per resource; it only translates requests and answers."""
