"""A make-believe district to try Aimline on. Speaks to the product from outside; no room ever imports it."""
