"""Links by which a calendar program reads when teams meet, as iCalendar (RFC 5545) and without a token of OAuth."""
