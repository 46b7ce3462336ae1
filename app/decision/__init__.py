"""A team's decisions about students, with the verdict that the team had before it."""
