"""Attendance: whether a student was at school on a day, or in a class, as schools record it."""
