"""Areas and levels: the commands that change them, and the playbook versions that these commands publish."""
