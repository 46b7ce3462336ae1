"""What needs something from one person: over all that teams know, for the person who asks and for nobody else."""
