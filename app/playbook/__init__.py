"""How this district works: areas, levels, measures, decision rules; versioned."""
