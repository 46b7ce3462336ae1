"""Reports about many students: screening windows, and how supports reach students. Small counts are not published."""
