"""The playbook: how this district works. Areas, levels, measures and decision rules, in numbered versions."""
