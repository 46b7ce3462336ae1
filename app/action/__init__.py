"""Action items: what a member of a team does by a certain day, as the team agreed."""
