"""What a district has set about each source: settings, schedule, mapping."""
