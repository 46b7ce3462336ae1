"""Teams: their members, the students whom they serve, and which students a member may see because of this."""
