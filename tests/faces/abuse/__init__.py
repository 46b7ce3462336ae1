"""Documents that ask for too much, what each costs, and what stays available beside them."""
