"""The gradebook stores grades as the SIS delivers them: categories, line items, results, score scales, assessments."""
