"""A team's decisions about students, each with the verdict that the team saw when it decided."""
