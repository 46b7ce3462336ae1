"""The sync engine. It loads what a source has delivered, checks it, plans the changes of the roster, and applies them.

The same statements serve all sources. A run that would change too much is held until a person has reviewed it.
"""
