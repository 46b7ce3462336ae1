"""The tasks of one person, from the records of all rooms below. Only the person reads them."""
