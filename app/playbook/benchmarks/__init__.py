"""Norms and benchmarks of measures by grade and season: the published ones, and the district's own."""
