"""The log of deliveries: sending again and retention."""
