"""The night: when a source's run is due, who carries it out, what is said when none comes."""
