"""Grades as the SIS has them: categories, line items, results, score scales, assessments. Never judged here."""
