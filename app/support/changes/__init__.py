"""Contains what distinguishes two phases of a support, and handovers, which draw no phase line."""
