"""How the api meets the network: connections and their limits, processes and what replaces them, its own metrics."""
