"""Areas and levels: the commands with which a district changes its own, and the versions of the playbook they make."""
