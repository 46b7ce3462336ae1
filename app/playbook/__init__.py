"""The playbook describes how a district works: its areas, levels, measures and decision rules, in numbered versions."""
