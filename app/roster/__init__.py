"""Orgs, terms, people, classes, enrollments, caseload: the district as its SIS tells it."""
