"""Which results of a source become scores of the loop, and how those scores follow them."""
