"""The roster: orgs, terms, people, classes, enrollments and caseloads, as delivered by the district's SIS."""
