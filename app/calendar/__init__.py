"""Links that give a calendar program the meetings of teams, as iCalendar (RFC 5545), without an OAuth token."""
