"""How the api meets the network."""
