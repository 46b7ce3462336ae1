"""Teams: their members, the students that they serve, and the students that each member may therefore see."""
