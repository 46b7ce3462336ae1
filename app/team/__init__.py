"""Teams: who belongs to them, whom they serve, and the reach that their members have by them."""
