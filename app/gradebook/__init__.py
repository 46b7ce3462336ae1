"""The gradebook: grades as the SIS has them. Categories, line items, results, score scales, assessments."""
