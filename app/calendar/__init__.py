"""Links with which a calendar program reads when teams meet, as iCalendar (RFC 5545), without an OAuth token."""
