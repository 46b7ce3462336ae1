"""Contains handovers and the recurring tasks about supports, and what follows from changes of the roster."""
