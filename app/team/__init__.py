"""Teams: their members, the students whom they serve, and the reach that membership gives."""
